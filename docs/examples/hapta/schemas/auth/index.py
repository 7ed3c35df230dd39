"""What `POST /auth` takes; checked before the route runs. A provider or a one-time password needs no other."""

from typing import Annotated

from pydantic import BaseModel, Field


class Login(BaseModel):
    emailOrUsername: Annotated[str, Field(min_length=3)] = ""  # noqa: N815 - as clients of Hapta send it
    password: Annotated[str, Field(min_length=6)] = ""
