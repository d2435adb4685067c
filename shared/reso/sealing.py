"""Encrypts tokens that are stored, so that a copy of the database gives nobody access to an MLS (AES-256-GCM)."""

import base64
import secrets

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

_KEY_BYTES, _NONCE_BYTES, _TAG_BYTES = 32, 12, 16
_HEAD_BYTES = _NONCE_BYTES + _TAG_BYTES
_PURPOSE = b"listing-images: token of an MLS"


def seal(text: str, secret: str, name: str) -> str:
    """Encrypt a text with a key that is derived from `secret`; return nonce, tag and encrypted text in base 64.

    `name` is the name of the feed. `unseal` needs the same name, so that a sealed text cannot be used for another feed.
    """
    cipher = AES.new(_key(secret), AES.MODE_GCM, nonce=secrets.token_bytes(_NONCE_BYTES), mac_len=_TAG_BYTES)
    cipher.update(name.encode())
    encrypted, tag = cipher.encrypt_and_digest(text.encode())
    return base64.b64encode(bytes(cipher.nonce) + tag + encrypted).decode()


def unseal(sealed: str, secret: str, name: str) -> str | None:
    """Return the text that `seal` encrypted; None if the secret or the name is another, or `sealed` was changed."""
    try:
        data = base64.b64decode(sealed, validate=True)
        nonce, tag, encrypted = data[:_NONCE_BYTES], data[_NONCE_BYTES:_HEAD_BYTES], data[_HEAD_BYTES:]
        cipher = AES.new(_key(secret), AES.MODE_GCM, nonce=nonce, mac_len=_TAG_BYTES)
        cipher.update(name.encode())
        return cipher.decrypt_and_verify(encrypted, tag).decode()
    except ValueError:
        return None


def _key(secret: str) -> bytes:
    key = HKDF(secret.encode(), _KEY_BYTES, b"", SHA256, context=_PURPOSE)
    assert isinstance(key, bytes)  # noqa: S101 - a tuple only if several keys are asked for
    return key
