"""Apps with secrets where the facts of a process are read from."""

from fastapi import FastAPI
from pydantic import BaseModel


class Login(BaseModel):
    name: str = "nobody"
    password: str = "hunter2-Zk3"


app = FastAPI(title="Shop")
app.state.SECRET_KEY = "hunter2-Zk3"
app.state.database = "postgresql://shop:hunter2-Zk3@db/shop"


@app.post("/login")
async def login(data: Login) -> dict[str, str]:
    return {"hello": data.name}


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"number": number}
