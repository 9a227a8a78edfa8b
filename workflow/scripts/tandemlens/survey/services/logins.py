"""Logins of services: from the environment or netrc only, and never written anywhere."""

import os
from base64 import b64encode
from typing import Any

from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from tandemlens.base.errors import SettingsError
from tandemlens.base.secrets import remember


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "a token"


class _Login(HTTPBasicAuth):
    def __repr__(self) -> str:
        return "a login"


def password_login(name: str, url: str) -> _Login:
    """User and password of a service.

    Parameters
    ----------
    name : str
        ``{name}_USER`` and ``{name}_PASSWORD`` are looked up in the environment, then the host in netrc.
    url : str

    Returns
    -------
    requests.auth.AuthBase

    Raises
    ------
    SettingsError
        If there is none.
    """
    user, password = os.environ.get(f"{name}_USER"), os.environ.get(f"{name}_PASSWORD")
    if not user or not password:
        user, password = get_netrc_auth(url) or ("", "")
    if not user and not password:
        raise SettingsError(
            f"{url} needs an account; set {name}_USER and {name}_PASSWORD in the environment, or an entry in ~/.netrc"
        )
    remember(password)
    # as it stands in the header; bytes, because requests knows Latin letters only
    remember(b64encode(f"{user}:{password}".encode()).decode())
    return _Login(user.encode(), password.encode())


def token_login(name: str, url: str) -> _Bearer:
    """Token of a service.

    Parameters
    ----------
    name : str
        Environment variable that holds it.
    url : str

    Returns
    -------
    requests.auth.AuthBase

    Raises
    ------
    SettingsError
        If there is none.
    """
    token = os.environ.get(name, "").strip()
    if not token:
        raise SettingsError(f"{url} needs a token; set {name} in the environment")
    remember(token)
    return _Bearer(token)
