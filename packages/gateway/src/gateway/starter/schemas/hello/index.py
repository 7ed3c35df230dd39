"""What `POST /hello` takes."""

from typing import Annotated

from pydantic import BaseModel, Field


class Greeting(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=50)]
