"""Logins of services: from the environment or netrc only, and never written anywhere."""

import os
from base64 import b64encode

from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from tandemlens.base.errors import SettingsError
from tandemlens.base.secrets import remember


class _Bearer(AuthBase):
    def __init__(self, token):
        self._token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self):
        return "a token"


class _Login(HTTPBasicAuth):
    def __repr__(self):
        return "a login"


def password_login(name, url):
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
    pair = os.environ.get(f"{name}_USER"), os.environ.get(f"{name}_PASSWORD")
    if not all(pair):
        pair = get_netrc_auth(url)
    if not pair:
        raise SettingsError(
            f"{url} needs an account; set {name}_USER and {name}_PASSWORD in the environment, or an entry in ~/.netrc"
        )
    remember(pair[1])
    # as it stands in the header; bytes, because requests knows Latin letters only
    remember(b64encode(":".join(pair).encode()).decode())
    return _Login(*(word.encode() for word in pair))


def token_login(name, url):
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
