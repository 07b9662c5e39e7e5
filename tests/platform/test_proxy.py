"""PROXY_URL, NO_PROXY and the files of TLS: their forms, and what is refused without a secret in the error."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from agent.core.errors import SettingsError, UntrustedFile, WrongUse
from agent.platform.proxy import Proxy, checked_exceptions, is_direct
from agent.platform.settings import load_settings


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("host", "entries", "direct"),
    [
        ("login.example", "login.example", True),
        ("LOGIN.example.", "login.example", True),
        ("a.login.example", "login.example", True),
        ("notlogin.example", "login.example", False),
        ("a.example", ".example", True),
        ("example", ".example", False),
        ("login.example", "login.example:443", True),
        ("login.example", "login.example:8443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8,11.1.2.3", True),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:443", True),
        ("10.example", "10.0.0.0/8", False),
        ("any.example", "*", True),
        ("any.example", "", False),
        ("127.0.0.1", "", True),
        ("localhost", "", True),
    ],
)
def test_no_proxy_names_the_hosts_that_are_called_directly(host: str, entries: str, direct: bool) -> None:
    settings = load_settings(proxy_url="http://proxy.example:3128", no_proxy=entries)
    assert (settings.proxy_to(host, 443) is None) is direct
    assert is_direct(host, 443, settings.no_proxy) is direct


@pytest.mark.parametrize("entry", ["https://a.example", "a b", "10.0.0.0/99", "a.example:port", "*.example", "[::1"])
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"expected hosts such as login\.example"):
        checked_exceptions([entry])
    with pytest.raises(SettingsError, match=r"NO_PROXY: expected hosts"):
        load_settings(no_proxy=entry)


@pytest.mark.parametrize(
    "url",
    [
        "https://agent:hunter2@proxy.example:3128",
        "socks5://agent:hunter2@proxy.example",
        "http://agent:hunter2@",
        "http://agent:hunter2@proxy.example:99999",
        "http://agent:hunter2@proxy.example/path",
        "http://agent:hunter2/@proxy.example",
        "agent:hunter2@proxy.example:3128",
    ],
)
def test_a_wrong_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"PROXY_URL: expected a URL such as http://") as refused:
        load_settings(proxy_url=url)
    assert "hunter2" not in str(refused.value) + refused.value.hint


def test_the_password_of_the_proxy_may_be_in_a_file_and_is_shown_nowhere(tmp_path: Path) -> None:
    """[I6]"""
    (tmp_path / "password").write_text("p@ss:word/1\n")
    (tmp_path / "password").chmod(0o600)
    settings = load_settings(proxy_url="http://agent@proxy.example:3128", proxy_password_file="password")
    assert settings.proxy == Proxy.of("http://agent:p%40ss%3Aword%2F1@proxy.example:3128")
    assert settings.proxy is not None
    assert settings.proxy.url == "http://proxy.example:3128"
    shown = repr(settings) + str(settings) + repr(settings.proxy)
    assert "p@ss" not in shown
    assert settings.proxy.authorization not in shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"proxy_url": "http://a:b@proxy.example", "proxy_password": "c"}, "contains a password"),
        ({"proxy_url": "http://proxy.example", "proxy_password": "c"}, "needs a user"),
        ({"proxy_password": "c"}, "PROXY_URL: expected"),
        ({"client_key_file": "key.pem"}, "CLIENT_KEY_FILE needs CLIENT_CERT_FILE"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(**given)


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert load_settings().proxy_to("api.signicat.com", 443) is None


def _files(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    one, other = authority.issue_cert(common_name="one"), authority.issue_cert(common_name="other")
    one.cert_chain_pems[0].write_to_path(folder / "one.pem")
    one.private_key_pem.write_to_path(folder / "one.key")
    other.private_key_pem.write_to_path(folder / "other.key")
    for file in folder.iterdir():
        file.chmod(0o600)


def test_the_files_of_tls_are_read_at_the_start(tmp_path: Path) -> None:
    _files(tmp_path)
    (tmp_path / "ca.pem").write_text("# Főtanúsítvány\n" + (tmp_path / "ca.pem").read_text(), encoding="utf-8")
    load_settings(ca_file="ca.pem", client_cert_file="one.pem", client_key_file="one.key")


@pytest.mark.parametrize(
    ("given", "message", "kind"),
    [
        ({"ca_file": "gone.pem"}, r"CA_FILE: gone\.pem cannot be read", SettingsError),
        ({"ca_file": "one.key"}, r"CA_FILE: one\.key cannot be used", SettingsError),
        ({"client_cert_file": "one.pem"}, r"CLIENT_CERT_FILE: one\.pem cannot be used", SettingsError),
        ({"client_cert_file": "one.pem", "client_key_file": "other.key"}, "CLIENT_CERT_FILE", SettingsError),
        ({"client_cert_file": "one.pem", "client_key_file": "gone.key"}, r"gone\.key cannot be read", SettingsError),
        ({"ca_file": "open.pem"}, r"CA_FILE: open\.pem has mode 0666", UntrustedFile),
        ({"client_cert_file": "one.pem", "client_key_file": "open.key"}, r"open\.key has mode 0622", UntrustedFile),
    ],
)
def test_a_file_that_cannot_be_used_or_trusted_is_named(
    tmp_path: Path, given: dict[str, str], message: str, kind: type[SettingsError | WrongUse]
) -> None:
    _files(tmp_path)
    for name, origin, mode in (("open.pem", "ca.pem", 0o666), ("open.key", "one.key", 0o622)):
        (tmp_path / name).write_bytes((tmp_path / origin).read_bytes())
        (tmp_path / name).chmod(mode)
    with pytest.raises(kind, match=message):
        load_settings(**given)


def test_an_encrypted_key_is_refused_and_no_terminal_is_asked(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    _files(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "one.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (tmp_path / "one.key").write_bytes(pem)
    with pytest.raises(SettingsError, match="cannot be used"):
        load_settings(client_cert_file="one.pem", client_key_file="one.key")
