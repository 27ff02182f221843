"""One example as a browser shows it: pictures, sounds and videos as bytes of bounded size, the rest as text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from armillary_kernels.texts import translator

from armillary.datasets.features import MEDIA, Feature
from armillary.datasets.labelling.session import Session
from armillary.datasets.media import Medium
from armillary.errors import ArmillaryError
from armillary.inputs.pictures import BadPictureError, decode, fitted, upright

_ = translator(__file__)

#: A larger picture, in bytes or in pixels, is sent smaller; its boxes still count its own pixels.
LARGEST_PICTURE, LONGEST_SIDE = 2**20, 1600
#: A larger sound or video is sent in part: its first minute, its first picture.
LARGEST_MEDIUM = 8 * 2**20
SECONDS = 60
_LONGEST_TEXT = 20_000
_SHOWN_PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_SHOWN_SOUNDS = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg"}
_SHOWN_VIDEOS = {b"\x1aE\xdf\xa3": "video/webm"}


def item_of(session: Session, place: int) -> tuple[dict[str, Any], list[bytes]]:
    """Return an example for the browser, and the bytes of its media, in order.

    Parameters
    ----------
    place
        In the session's rows.
    """
    row = int(session.rows[place])
    task = session.task
    hidden = {task.column, session.dataset.target if task.kind == "classes" else None}
    columns = [name for name in session.dataset.features if name not in hidden]
    if task.shown:
        columns = [task.shown]
    values = session.dataset.take([row], columns)[0]
    buffers: list[bytes] = []
    item = {"row": row, "place": place, **state_of(session, row), "media": [], "texts": []}
    for name in columns:
        feature, value = session.dataset.features[name], values[name]
        if name == task.shown and task.kind == "spans":
            item["text" if task.unit == "character" else "tokens"] = value or ("" if task.unit == "character" else [])
        elif isinstance(feature, tuple(MEDIA.values())):
            item["media"].append(_medium(name, feature, value, buffers))
        elif value is not None:
            item["texts"].append({"name": name, "text": _text(value)})
    return item, buffers


def state_of(session: Session, row: int) -> dict[str, Any]:
    """Return what may change of an example."""
    state = {"answer": session.answer(row), "done": session.is_done(row), "removed": session.is_removed(row)}
    votes: Callable[[int], dict[str, Any]] | None = getattr(session, "votes", None)
    return {**state, "votes": votes(row)} if votes else state


def _text(value: Any) -> str:
    if isinstance(value, dict):
        text = "\n".join(f"{name}: {part}" for name, part in value.items())
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        text = " ".join(value)
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"


def _medium(name: str, feature: Feature, medium: Medium | None, buffers: list[bytes]) -> dict[str, Any]:
    kind = type(feature).__name__.lower()
    described: dict[str, Any] = {"name": name, "kind": kind, "type": "", "buffer": -1, "note": ""}
    if medium is None:
        return {**described, "note": _("missing")}
    try:
        send = {"image": _picture, "audio": _sound, "video": _video}[kind]
        data, more = send(medium)
    except (ArmillaryError, BadPictureError, OSError, ValueError, StopIteration, RuntimeError):
        return {**described, "note": _("damaged")}
    buffers.append(data)
    return {**described, "buffer": len(buffers) - 1, **more}


def _type_of(data: bytes, known: dict[bytes, str]) -> str:
    return next((kind for magic, kind in known.items() if data.startswith(magic)), "")


def _picture(medium: Medium) -> tuple[bytes, dict[str, Any]]:
    data = medium.read()
    picture = decode(data)
    width, height = upright(picture).size
    kind = _type_of(data, _SHOWN_PICTURES)
    if not kind or len(data) > LARGEST_PICTURE or max(width, height) > 2 * LONGEST_SIDE:
        factor = min(1.0, LONGEST_SIDE / max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        buffer = io.BytesIO()
        fitted(picture, size, 3).save(buffer, "JPEG", quality=90)
        data, kind = buffer.getvalue(), "image/jpeg"
    return data, {"type": kind, "width": width, "height": height}


def _sound(medium: Medium) -> tuple[bytes, dict[str, Any]]:
    data = medium.read()
    kind = _type_of(data, _SHOWN_SOUNDS) or ("audio/mpeg" if data[:1] == b"\xff" else "")
    if kind and len(data) <= LARGEST_MEDIUM:
        return data, {"type": kind}
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        part = sound.read(SECONDS * sound.samplerate, dtype="int16", always_2d=True)
        soundfile.write(buffer, part[:, :2], sound.samplerate, "PCM_16", format="WAV")
        note = _("the first {n} seconds", n=SECONDS) if sound.frames > len(part) else ""
    return buffer.getvalue(), {"type": "audio/wav", "note": note}


def _video(medium: Medium) -> tuple[bytes, dict[str, Any]]:
    head = medium.data[:12] if medium.data is not None else b""
    kind = "video/mp4" if head[4:8] == b"ftyp" else _type_of(head, _SHOWN_VIDEOS)
    if kind and medium.data is not None and len(medium.data) <= LARGEST_MEDIUM:
        return medium.data, {"type": kind}
    from PIL import Image

    picture = Image.fromarray(next(medium.frames()))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    size = {"width": picture.width, "height": picture.height}
    return buffer.getvalue(), {"kind": "image", "type": "image/jpeg", "note": _("the first picture"), **size}
