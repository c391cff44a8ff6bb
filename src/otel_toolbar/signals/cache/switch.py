"""Whether caches are watched. The hooks stay where they are: they look here."""

from __future__ import annotations

on = False
