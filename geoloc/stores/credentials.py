"""AWS profiles: the part of the usual credential chain that obstore does not support.

obstore itself finds keys in the environment, web identities, and the roles of containers and
machines. This module reads ``~/.aws/credentials`` and ``~/.aws/config``, or the files named by
``AWS_SHARED_CREDENTIALS_FILE`` and ``AWS_CONFIG_FILE``, for the profile ``AWS_PROFILE``.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from ..errors import CubeError

_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_ENVIRONMENT = {
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "skip_signature": ("AWS_SKIP_SIGNATURE", "AWS_NO_SIGN_REQUEST"),
}
_KEYS = ("access_key_id", "secret_access_key", "session_token")
_ELSEWHERE = ("sso_session", "sso_start_url", "role_arn", "credential_process")


def s3_settings() -> dict[str, str]:
    """All S3 settings of the profile and the environment, for stores and for GDAL.

    Names and errors as in `profile_settings`.
    """
    profile = profile_settings()
    # keys belong together: a token in the environment does not match the profile's keys
    others = _KEYS if "access_key_id" in profile else ()
    environment = {
        name: os.environ[variable]
        for name, variables in _ENVIRONMENT.items()
        for variable in reversed(variables)
        if os.environ.get(variable) and name not in others
    }
    return {**environment, **profile}


def profile_settings() -> dict[str, str]:
    """Keys, region and endpoint of the profile, as options of an S3 store.

    Settings in the environment take precedence; without a profile this is empty. Raises CubeError
    for a profile that does not exist or requires a login.
    """
    named = os.environ.get("AWS_PROFILE")
    profile = named or "default"
    values = _profile(profile)
    if not values and named:
        raise CubeError(f"AWS_PROFILE {named} is in neither {_credentials()} nor {_config()}")
    settings = {ours: values[theirs] for theirs, ours in _NAMES.items() if values.get(theirs)}
    if "AWS_ACCESS_KEY_ID" in os.environ and not named:
        settings = {name: value for name, value in settings.items() if name not in _KEYS}
    elif "access_key_id" not in settings and (how := _login(values)):
        raise CubeError(
            f"AWS profile {profile} requires a login ({how}): run "
            f'eval "$(aws configure export-credentials --profile {profile} --format env)" first'
        )
    for name in ("region", "endpoint"):
        if any(variable in os.environ for variable in _ENVIRONMENT[name]):
            settings.pop(name, None)
    return settings


def _login(values: dict[str, str]) -> str | None:
    return next((name for name in _ELSEWHERE if name in values), None)


def _profile(name: str) -> dict[str, str]:
    section = name if name == "default" else f"profile {name}"
    return {**_section(_config(), section), **_section(_credentials(), name)}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise CubeError(f"{path} cannot be read: {reason}") from None
    return dict(parser[name]) if parser.has_section(name) else {}


def _credentials() -> Path:
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()


def _config() -> Path:
    return Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
