"""The least app there is."""


async def app(scope, receive, send):
    pass
