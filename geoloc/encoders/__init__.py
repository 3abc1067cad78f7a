"""From pixels to feature vectors: model directories, ground encoders, overhead encoders.

``spec``        what model.json may say
``model``       a checked model directory, the model store, digests (no torch)
``networks``    torchvision networks split into trunk and head, dilation, the dense function
``exported``    networks from ONNX and torch.export files, loaded safely
``runtime``     device, number format, threads; one callable for every kind of network
``preprocess``  from uint8 pixels to what a network takes
``lattice``     which pixels a block of cells needs (pure arithmetic)
``ground``      photos -> vectors
``overhead``    imagery window -> vectors of its cells
``fidelity``    how far an approximation is from the definition, beside the network's own jitter
``importing``   a model directory out of somebody's own files
"""
