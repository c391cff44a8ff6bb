"""Every attribute name read or written, with its type, unit and meaning. Keys stand nowhere else.

The standard ones are OpenTelemetry's (semantic conventions 1.44: `http`, `url`, `server`, `client`,
`network`, `db`, `code`, `exception`, `graphql`); our facts are named by their domain; our verdicts
stand under `toolbar.`. `docs/attributes.md` is generated from this module.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """The definition of one attribute, or of a family when the key ends in `.`."""

    key: str
    type: str
    unit: str
    meaning: str
    standard: bool


ATTRIBUTES: dict[str, Attribute] = {}
"""Every definition by key, in the order of this module."""


def _standard(key: str, type_: str, meaning: str, unit: str = "") -> str:
    ATTRIBUTES[key] = Attribute(key, type_, unit, meaning, standard=True)
    return key


def _own(key: str, type_: str, meaning: str, unit: str = "") -> str:
    ATTRIBUTES[key] = Attribute(key, type_, unit, meaning, standard=False)
    return key


# The request, on the SERVER span.
HTTP_REQUEST_METHOD = _standard(
    "http.request.method", "string", "Request method, `_OTHER` when unknown."
)
HTTP_REQUEST_METHOD_ORIGINAL = _standard(
    "http.request.method_original", "string", "The method as sent, when it is not a known one."
)
HTTP_RESPONSE_STATUS_CODE = _standard("http.response.status_code", "int", "Status of the response.")
HTTP_ROUTE = _standard("http.route", "string", "Template of the route that matched.")
HTTP_REQUEST_HEADER = _standard(
    "http.request.header.", "string[]", "Request headers by lower-case name, masked; 32 at most."
)
HTTP_RESPONSE_HEADER = _standard(
    "http.response.header.", "string[]", "Response headers by lower-case name, masked; 32 at most."
)
HTTP_REQUEST_BODY_SIZE = _standard("http.request.body.size", "int", "Request body received.", "By")
HTTP_RESPONSE_BODY_SIZE = _standard("http.response.body.size", "int", "Response body sent.", "By")
URL_SCHEME = _standard("url.scheme", "string", "http or https.")
URL_PATH = _standard("url.path", "string", "Path of the request.")
URL_QUERY = _standard("url.query", "string", "Query string, secrets masked.")
URL_FULL = _standard("url.full", "string", "Whole URL of an outgoing call, secrets masked.")
SERVER_ADDRESS = _standard(
    "server.address", "string", "Host that the client asked for, or a database's host."
)
SERVER_PORT = _standard(
    "server.port", "int", "Port that the client asked for, or a database's port."
)
CLIENT_ADDRESS = _standard("client.address", "string", "Address of the client.")
CLIENT_PORT = _standard("client.port", "int", "Port of the client.")
NETWORK_PROTOCOL_NAME = _standard("network.protocol.name", "string", "`http` or `websocket`.")
NETWORK_PROTOCOL_VERSION = _standard("network.protocol.version", "string", "HTTP version.")
USER_AGENT = _standard("user_agent.original", "string", "User-Agent header.")
ERROR_TYPE = _standard("error.type", "string", "Class of the error, or the status that was one.")

TOOLBAR_FRAMEWORK = _own(
    "toolbar.framework", "string", "fastapi, starlette, litestar, quart, django or asgi."
)
REQUEST_HEADERS_MORE = _own(
    "toolbar.request.headers.more",
    "string[]",
    "Request headers beyond the first 32, as `name: value`.",
)
RESPONSE_HEADERS_MORE = _own(
    "toolbar.response.headers.more",
    "string[]",
    "Response headers beyond the first 32, as `name: value`.",
)
REQUEST_PATH_PARAMETER = _own(
    "toolbar.request.path.", "string", "Path parameters by name, masked, cut."
)
REQUEST_COOKIE = _own("toolbar.request.cookie.", "string", "Cookies by name, masked, cut.")
REQUEST_SESSION = _own("toolbar.request.session.", "string", "Session values by key, masked, cut.")
RESPONSE_FIRST_BYTE = _own(
    "toolbar.response.first_byte", "double", "From the start to the first byte of the body.", "s"
)
RESPONSE_CHUNKS = _own("toolbar.response.chunks", "int", "Body messages that the app sent.")
RESPONSE_STREAMED = _own(
    "toolbar.response.streamed", "boolean", "The body came in more than one part."
)
REQUEST_DISCONNECTED = _own(
    "toolbar.request.disconnected",
    "boolean",
    "The client went away before the response was complete.",
)

# The summary, on the SERVER span before it ends.
QUERIES_COUNT = _own("toolbar.queries.count", "int", "Queries of the request.", "{query}")
QUERIES_DURATION = _own("toolbar.queries.duration", "double", "Time in them, together.", "s")
N_PLUS_ONE_COUNT = _own(
    "toolbar.n_plus_one.count", "int", "N+1 groups that reached the warning.", "{group}"
)
TASKS_COUNT = _own("toolbar.tasks.count", "int", "asyncio tasks of the request.", "{task}")
TASKS_DROPPED = _own(
    "toolbar.tasks.dropped", "int", "Tasks beyond `MAX_TASKS`: counted, without a span.", "{task}"
)
BLOCKING_COUNT = _own(
    "toolbar.blocking.count", "int", "Times that this request blocked the event loop.", "{call}"
)
BLOCKING_DURATION = _own("toolbar.blocking.duration", "double", "Time of these, together.", "s")
EVENT_LOOP_RUNNING = _own(
    "toolbar.event_loop.running",
    "double",
    "Time that the request's handler and its tasks held the event loop.",
    "s",
)
EVENT_LOOP_WAITING = _own(
    "toolbar.event_loop.waiting",
    "double",
    "Time that the handler stood at an await; `toolbar.await.targets` says on what.",
    "s",
)
EVENT_LOOP_QUEUED = _own(
    "toolbar.event_loop.queued",
    "double",
    "Part of the waiting in which the handler was ready, and the loop busy with others.",
    "s",
)
EVENT_LOOP_IDLE = _own(
    "toolbar.event_loop.idle",
    "double",
    "Time in which neither the handler nor a task of the request held the loop.",
    "s",
)
AWAIT_TARGETS = _own(
    "toolbar.await.targets",
    "string[]",
    "What the handler waited on for 1 ms or longer, the longest sum first; 20 at most.",
)
AWAIT_DURATIONS = _own(
    "toolbar.await.durations", "double[]", "Time of each of `toolbar.await.targets`.", "s"
)
LAG_MAX = _own(
    "toolbar.event_loop.lag.max", "double", "Longest delay of the loop while the request ran.", "s"
)
LAG_MEAN = _own("toolbar.event_loop.lag.mean", "double", "Mean delay of it.", "s")
LAG_SAMPLES = _own(
    "toolbar.event_loop.lag.samples", "int", "Delays measured, one each `LAG_INTERVAL`.", "{sample}"
)
LAG_OTHER = _own(
    "toolbar.event_loop.lag.other.duration",
    "double",
    "Longest delay that another request caused; a link leads to it.",
    "s",
)
LAG_OTHER_NAME = _own(
    "toolbar.event_loop.lag.other.name", "string", "Name of that request, as method and path."
)
LAG_OTHER_TRACE_ID = _own(
    "toolbar.event_loop.lag.other.trace_id", "string", "Trace id of that request."
)
JOBS_COUNT = _own("toolbar.jobs.count", "int", "Jobs that the request sent.", "{job}")
JOBS_N_PLUS_ONE_COUNT = _own(
    "toolbar.jobs.n_plus_one.count",
    "int",
    "N+1 groups of jobs that reached the warning.",
    "{group}",
)
CPU_TIME = _own("toolbar.cpu.time", "double", "CPU time of the event loop's thread meanwhile.", "s")
DROPPED = _own("toolbar.dropped", "int", "Spans of this request that were not kept.", "{span}")
DETACHED = _own("toolbar.detached", "boolean", "Work done after the response was complete.")
PROCESS_ID = _own(
    "toolbar.process.id", "string", "On the resource: the process that recorded this."
)

FRAMEWORK_DEBUG = _own(
    "toolbar.framework.debug",
    "boolean",
    "True when the app runs with its framework's debug mode on.",
)

# Dependencies that a framework injects.
DEPENDENCY_NAME = _own(
    "dependency.name", "string", "Name of the parameter or key that takes it; may be empty."
)
DEPENDENCY_FRAMEWORK = _own("dependency.framework", "string", "fastapi or litestar.")
DEPENDENCY_PHASE = _own(
    "dependency.phase", "string", "`setup`, or `teardown` of a generator behind its `yield`."
)
DEPENDENCY_VALUE = _own(
    "dependency.value",
    "string",
    "What was injected, masked, cut; of the app's own types the type's name.",
)
DEPENDENCY_CACHED = _own(
    "dependency.cached", "boolean", "The value that was made before in this request."
)
DEPENDENCY_REQUIRES = _own(
    "dependency.requires", "string[]", "Keys of the dependencies that it needs."
)

# What happens around a request of Litestar: hooks, events, exception handlers.
LITESTAR_EVENT_NAME = _own(
    "litestar.event.name",
    "string",
    "The event's name, the hook's (`before_request`), or the class that an exception handler was given.",
)
LITESTAR_EVENT_KIND = _own(
    "litestar.event.kind",
    "string",
    "`emit`, `listener`, `exception_handler`, or the hook's name.",
)
LITESTAR_LISTENER = _own(
    "litestar.listener", "string", "Function that was called: a listener, a hook, a handler."
)

# What holds for a whole process: a log record of this event name, on the resource's process.
PROCESS_EVENT = "toolbar.process"

# Queries.
DB_SYSTEM_NAME = _standard("db.system.name", "string", "sqlite, postgresql, mysql, mariadb, ...")
DB_NAMESPACE = _standard("db.namespace", "string", "Name of the database.")
DB_COLLECTION_NAME = _standard(
    "db.collection.name", "string", "The table that the statement names first."
)
DB_OPERATION_NAME = _standard("db.operation.name", "string", "SELECT, INSERT, ...")
DB_OPERATION_BATCH_SIZE = _standard(
    "db.operation.batch.size", "int", "Parameter sets of a batch; absent for one.", "{operation}"
)
DB_QUERY_TEXT = _standard("db.query.text", "string", "The statement, secrets in literals masked.")
DB_QUERY_SUMMARY = _standard("db.query.summary", "string", "Operation and table: `SELECT users`.")
DB_QUERY_PARAMETER = _standard(
    "db.query.parameter.",
    "string",
    "Parameters by bind name or by index from 0, masked, cut; 32 at most.",
)
DB_RESPONSE_RETURNED_ROWS = _standard(
    "db.response.returned_rows", "int", "Rows that the app fetched.", "{row}"
)
DB_RESPONSE_STATUS_CODE = _standard(
    "db.response.status_code", "string", "The database's error code."
)
QUERY_FINGERPRINT = _own(
    "toolbar.query.fingerprint",
    "string",
    "16 hex digits over the statement with its literals and IN lists folded.",
)
QUERY_AFFECTED_ROWS = _own(
    "toolbar.query.affected_rows", "int", "Rows that an INSERT, UPDATE or DELETE changed.", "{row}"
)
QUERY_LAZY_LOADED_FROM = _own(
    "toolbar.query.lazy_loaded_from",
    "string",
    "`Model.relationship` whose lazy load made the query.",
)
QUERY_EAGER_LOADED = _own(
    "toolbar.query.eager_loaded",
    "string",
    "`Model.relationship` whose eager load (selectin, subquery) made the query.",
)
QUERY_RELATIONSHIP_DIRECTION = _own(
    "toolbar.query.lazy_loaded.direction",
    "string",
    "Of that relationship: many_to_one, one_to_one, one_to_many or many_to_many.",
)
QUERY_REFRESHED = _own(
    "toolbar.query.refreshed",
    "string",
    "Object whose columns the query loads again or late: `Customer`, or `Customer.bio` of one column.",
)
QUERY_REFRESH_REASON = _own(
    "toolbar.query.refreshed.reason",
    "string",
    "expired, deferred (a deferred column), subclass (of a polymorphic load), or asked (`refresh`).",
)
QUERY_ENTITY = _own(
    "toolbar.query.entity", "string", "The one mapped class that the query selects: `Customer`."
)
QUERY_LONGEST_LIST = _own(
    "toolbar.query.longest_list",
    "int",
    "Items of the longest list bound to one parameter.",
    "{item}",
)
POOL_NAME = _standard(
    "db.client.connection.pool.name", "string", "Its given name, or server and database."
)
POOL_WAIT_DURATION = _own(
    "pool.wait.duration", "double", "Time waited for a connection of an exhausted pool.", "s"
)
TRANSACTION_DURATION = _own(
    "transaction.duration",
    "double",
    "On what ends a transaction or savepoint: from its first statement until that has been done.",
    "s",
)
TRANSACTION_STATEMENTS = _own(
    "transaction.statements", "int", "Statements in the transaction that ends.", "{statement}"
)
TRANSACTION_SAVEPOINT = _own("transaction.savepoint", "string", "Name of the savepoint.")
QUERY_DUPLICATE = _own(
    "toolbar.query.duplicate",
    "boolean",
    "The same statement with the same parameters has run before, from the same place.",
)
QUERY_FETCH = _own(
    "toolbar.query.fetch",
    "boolean",
    "The driver's span is of a fetch from an open cursor: its statement was run before.",
)
QUERY_PAGE = _own(
    "toolbar.query.page",
    "boolean",
    "It reads another page of a list of which a query from the same place has read one.",
)
QUERY_PARAMETERS_MORE = _own(
    "toolbar.query.parameters.more", "int", "Parameters beyond the 32 that are shown."
)
# What hints about results rest on.
QUERY_COLUMNS = _own("toolbar.query.columns", "int", "Columns of the result.", "{column}")
QUERY_ROW_SIZE = _own(
    "toolbar.query.row_size", "int", "About the size of the first row that was fetched.", "By"
)
QUERY_LOADED = _own(
    "toolbar.query.loaded",
    "string[]",
    "`Model.attribute` that the ORM loaded with the query; keys left out. With the signal `loads`.",
)
QUERY_UNREAD = _own(
    "toolbar.query.unread",
    "string[]",
    "Those of them, and the relationship loaded eagerly, that the request did not read.",
)
N_PLUS_ONE = _own("toolbar.n_plus_one", "boolean", "This query repeats one of the same place.")
N_PLUS_ONE_GROUP = _own(
    "toolbar.n_plus_one.group", "string", "16 hex digits over fingerprint and call site."
)
N_PLUS_ONE_POSITION = _own(
    "toolbar.n_plus_one.position", "int", "2 for the first repeat, then 3, ..."
)
N_PLUS_ONE_RULE = _own(
    "toolbar.n_plus_one.rule",
    "string",
    "`repeat`, `count` or `duration`: what was reached by then.",
)

# asyncio: tasks, awaits, work in threads, blocking calls.
ASYNCIO_TASK_NAME = _own("asyncio.task.name", "string", "Name of the asyncio task.")
ASYNCIO_TASK_COROUTINE = _own(
    "asyncio.task.coroutine", "string", "Qualified name of the task's coroutine."
)
ASYNCIO_TASK_STATE = _own(
    "asyncio.task.state",
    "string",
    "`done`, `cancelled`, `failed`, or `running` when the request ended first.",
)
ASYNCIO_TASK_STEPS = _own(
    "asyncio.task.steps", "int", "Times that the loop ran a part of the task.", "{step}"
)
ASYNCIO_TASK_CPU = _own("asyncio.task.cpu.duration", "double", "Time on the event loop.", "s")
ASYNCIO_TASK_WAIT = _own(
    "asyncio.task.wait.duration", "double", "Time between its steps, at awaits.", "s"
)
ASYNCIO_TASK_STARTED = _own(
    "asyncio.task.started", "double", "From its creation to its first step.", "s"
)
ASYNCIO_TASK_TIMELINE = _own(
    "asyncio.task.timeline",
    "int[]",
    "Running and waiting in turn, from the first step on; the shortest merged, 256 at most.",
    "us",
)
ASYNCIO_AWAIT_TARGET = _own(
    "asyncio.await.target",
    "string",
    "What was awaited: `asyncio.sleep`, `Lock.acquire`, `database`, `task fetch`, `Future`, ...",
)
ASYNCIO_AWAIT_QUEUED = _own(
    "asyncio.await.queued",
    "double",
    "Part of the await in which the task was ready, and the loop busy with others.",
    "s",
)
ASYNCIO_EXECUTOR_STATE = _own(
    "asyncio.executor.state",
    "string",
    "Of work in a thread: `done`, `failed`, `cancelled` before a thread took it, or `running` when the "
    "request ended first; without `asyncio.executor.started` no thread has taken it then.",
)
ASYNCIO_EXECUTOR_STARTED = _own(
    "asyncio.executor.started", "double", "From handing it over until a thread took it.", "s"
)
ASYNCIO_EXECUTOR_CPU = _own(
    "asyncio.executor.cpu.duration", "double", "CPU time of the thread in it.", "s"
)
ASYNCIO_BLOCKING_THRESHOLD = _own(
    "asyncio.blocking.threshold", "double", "From which time on a step is a blocking call.", "s"
)
ASYNCIO_BLOCKING_CPU = _own(
    "asyncio.blocking.cpu.duration", "double", "CPU time of the loop's thread in it, at most.", "s"
)
ASYNCIO_BLOCKING_STOLEN = _own(
    "asyncio.blocking.stolen.duration",
    "double",
    "Time in which the thread could run and the machine gave it no CPU, at most; Linux only.",
    "s",
)
ASYNCIO_BLOCKING_CAUSE = _own(
    "asyncio.blocking.cause",
    "string",
    "`cpu` (it computed), `sleep` (it slept or waited in a call), `machine` (no CPU was free), "
    "`gc` (garbage collection); absent when not known.",
)
THREAD_NAME = _standard("thread.name", "string", "Name of the thread that did the work.")
THREAD_ID = _standard("thread.id", "int", "Its id.")
# Responses that are streamed, on the SERVER span; also while they run.
STREAM_GAP_MAX = _own(
    "toolbar.response.gap.max", "double", "Longest time between two parts of the body.", "s"
)
STREAM_GAP_MEAN = _own(
    "toolbar.response.gap.mean", "double", "Mean time between two parts of the body.", "s"
)
STREAM_LAST_BYTE = _own(
    "toolbar.response.last_byte", "double", "From the start to the last part of the body.", "s"
)
STREAM_EVENTS = _own(
    "toolbar.response.events",
    "int",
    "Server-sent events in the body, comments not counted.",
    "{event}",
)
STREAM_END = _own(
    "toolbar.response.end",
    "string",
    "How a streamed body ended: `complete`, `disconnect`, `error` or `unfinished`; `running` until then.",
)

# Websocket connections, on the SERVER span; also while they are open.
WEBSOCKET_STATE = _own("websocket.state", "string", "`connecting`, `open`, `closing` or `closed`.")
WEBSOCKET_TIME_OPEN = _own(
    "websocket.time.open", "double", "From the start to the acceptance; absent when denied.", "s"
)
WEBSOCKET_TIME_CLOSING = _own(
    "websocket.time.closing", "double", "From the start to the first sign of the end.", "s"
)
WEBSOCKET_TIME_CLOSED = _own(
    "websocket.time.closed", "double", "From the start to the end of the connection.", "s"
)
WEBSOCKET_CLOSE_CODE = _own(
    "websocket.close.code",
    "int",
    "Code of the close; absent when nobody told it. A denied connection has an HTTP status instead.",
)
WEBSOCKET_CLOSE_REASON = _own(
    "websocket.close.reason", "string", "Reason of the close, secrets masked."
)
WEBSOCKET_CLOSE_INITIATOR = _own(
    "websocket.close.initiator",
    "string",
    "`client`, `server` (the app or its server), `error` (the app raised) or `network` (lost).",
)
WEBSOCKET_MESSAGES_RECEIVED = _own(
    "websocket.messages.received", "int", "Messages received.", "{message}"
)
WEBSOCKET_MESSAGES_SENT = _own("websocket.messages.sent", "int", "Messages sent.", "{message}")
WEBSOCKET_BYTES_RECEIVED = _own(
    "websocket.bytes.received", "int", "Size of the messages received, text as UTF-8.", "By"
)
WEBSOCKET_BYTES_SENT = _own(
    "websocket.bytes.sent", "int", "Size of the messages sent, text as UTF-8.", "By"
)
WEBSOCKET_MESSAGES_DROPPED = _own(
    "websocket.messages.dropped",
    "int",
    "Messages that the toolbar has not kept: older than the last ones, left out by sampling, or of a"
    " connection beyond those in detail. Exporters got the spans of the older ones.",
    "{message}",
)
WEBSOCKET_SUBPROTOCOL = _own("websocket.subprotocol", "string", "The subprotocol agreed on.")
WEBSOCKET_SUBPROTOCOLS_OFFERED = _own(
    "websocket.subprotocols.offered", "string[]", "The subprotocols that the client offered."
)
WEBSOCKET_TOTALS_ONLY = _own(
    "websocket.totals_only",
    "boolean",
    "Its messages have no spans: there were too many connections, or it opted out.",
)

# Websocket messages.
NETWORK_IO_DIRECTION = _standard(
    "network.io.direction", "string", "`receive` or `transmit`, seen from the server."
)
WEBSOCKET_MESSAGE_TYPE = _own(
    "websocket.message.type", "string", "`text`, `binary`, `ping`, `pong` or `close`."
)
WEBSOCKET_MESSAGE_NUMBER = _own(
    "websocket.message.number", "int", "Its place among all of its direction, from 1."
)
WEBSOCKET_MESSAGE_SIZE = _own(
    "websocket.message.size", "int", "Size of the message, text as UTF-8.", "By"
)
WEBSOCKET_MESSAGE_TEXT = _own(
    "websocket.message.text", "string", "Text of the message, secrets masked, cut."
)
WEBSOCKET_MESSAGE_HEX = _own(
    "websocket.message.hex", "string", "First bytes of a binary message in hex digits."
)
WEBSOCKET_MESSAGE_TRUNCATED = _own(
    "websocket.message.truncated", "boolean", "The content was cut; absent when it is whole."
)

# Caches.
CACHE_SYSTEM = _own(
    "cache.system", "string", "`redis`, `litestar.memory`, `aiocache.redis`, ...: who was asked."
)
CACHE_OPERATION = _own(
    "cache.operation", "string", "The command in capitals, `PIPELINE` for several sent at once."
)
CACHE_KEY = _own(
    "cache.key",
    "string",
    "Its key, cut. What looks like a secret is `***#` and 8 hex digits, the same for the same.",
)
CACHE_KEYS = _own("cache.keys", "string[]", "Keys of a command that has several; 32 at most.")
CACHE_KEY_COUNT = _own("cache.key_count", "int", "How many keys that were.", "{key}")
CACHE_COMMANDS = _own(
    "cache.commands", "string[]", "Commands of a pipeline with their keys; 32 at most."
)
CACHE_HIT = _own("cache.hit", "boolean", "Whether the one value that was asked for was there.")
CACHE_HITS = _own(
    "cache.hits", "int", "Of several values asked for at once, those that were there."
)
CACHE_MISSES = _own("cache.misses", "int", "And those that were not.")
CACHE_ITEM_SIZE = _own(
    "cache.item.size", "int", "Text and bytes that were read or written; absent for objects.", "By"
)

# Outgoing HTTP.
HTTP_URL_FINGERPRINT = _own(
    "toolbar.http.url.fingerprint",
    "string",
    "16 hex digits that tell URLs apart whose secrets are masked; keyed anew in every process.",
)

# Places in the code.
CODE_FILE_PATH = _standard("code.file.path", "string", "Source file: of a query, the app's own.")
CODE_LINE_NUMBER = _standard("code.line.number", "int", "Line in it.")
CODE_FUNCTION_NAME = _standard(
    "code.function.name", "string", "Function, with its module where known."
)
CODE_STACKTRACE = _standard(
    "code.stacktrace", "string", "The app's frames, `file:line function` each, innermost first."
)

# Exceptions, as events on the span that raised.
EXCEPTION_EVENT = "exception"
EXCEPTION_TYPE = _standard("exception.type", "string", "Class of the exception.")
EXCEPTION_MESSAGE = _standard("exception.message", "string", "Its text, secrets masked.")
EXCEPTION_STACKTRACE = _standard("exception.stacktrace", "string", "Its traceback.")
EXCEPTION_HANDLED = _own(
    "toolbar.exception.handled",
    "boolean",
    "True when an exception handler of the app or of its framework made the response of it.",
)
EXCEPTION_LOCALS = _own(
    "toolbar.exception.locals",
    "string[]",
    "Local variables of the app's frames, innermost first, as `file:line name = value`, masked, cut;"
    " with `CAPTURE=locals` only.",
)
EXCEPTION_ESCAPED = _standard("exception.escaped", "string", "Whether it left the span's scope.")

# Log records.
LOGGER_NAME = _own("toolbar.logger.name", "string", "Logger that was called.")
LOG_TEMPLATE = _own(
    "log.record.template", "string", "The message before its arguments were put in."
)
LOG_ARGUMENTS = _own("log.record.arguments", "string[]", "Its arguments, masked, cut; 32 at most.")
LOG_EXTRA = _own(
    "log.record.extra.", "string", "Values of `extra=` by name, masked, cut; numbers as they are."
)

# Templates.
TEMPLATE_ENGINE = _own("template.engine", "string", "jinja2, mako or minijinja.")
TEMPLATE_NAME = _own("template.name", "string", "Template; `<template>` when it has no name.")
TEMPLATE_PATH = _own("template.path", "string", "Its file; absent when it comes from none.")
TEMPLATE_ROLE = _own(
    "template.role",
    "string",
    "`page`, `parent` (extended by another), `include`, `import`, `block` (put into a parent),"
    " `macro` or `compile`.",
)
TEMPLATE_BLOCK = _own("template.block", "string", "Block that a template puts into its parent.")
TEMPLATE_MACRO = _own("template.macro", "string", "Macro that was called.")
TEMPLATE_CONTEXT_KEYS = _own(
    "template.context.keys",
    "string[]",
    "Names that the template was given, without the environment's globals; 100 at most.",
)
TEMPLATE_CONTEXT_VALUES = _own(
    "template.context.values",
    "string[]",
    "The same as `name: type = value`, masked, cut; with `CAPTURE=templates` only.",
)
TEMPLATE_CACHED = _own(
    "template.cached", "boolean", "The template was there already, made before this request."
)
TEMPLATE_COMPILE_DURATION = _own(
    "template.compile.duration", "double", "What it took to compile it in this request.", "s"
)
TEMPLATE_DURATION = _own(
    "template.render.duration",
    "double",
    "Time at work, where that is not the span's duration: of a stream without its reader's pauses, of"
    " several renders on one span their sum.",
    "s",
)
TEMPLATE_COUNT = _own(
    "template.render.count",
    "int",
    "Renders that stand on this span together: like ones under one parent, beyond the first 100 of a"
    " template, 20 of a block or macro.",
    "{render}",
)
TEMPLATE_ERROR_LINE = _own("template.error.line", "int", "Line of the template at which it failed.")
# GraphQL: an operation, and the resolvers that it called.
GRAPHQL_OPERATION_TYPE = _standard(
    "graphql.operation.type", "string", "`query`, `mutation` or `subscription`."
)
GRAPHQL_OPERATION_NAME = _standard("graphql.operation.name", "string", "Name of the operation.")
GRAPHQL_DOCUMENT = _standard(
    "graphql.document", "string", "The document, secrets masked, cut at 16 Ki characters."
)
GRAPHQL_VARIABLES = _own(
    "graphql.variables.", "string", "Variables by name, masked, cut; 32 at most."
)
GRAPHQL_DEPTH = _own(
    "graphql.complexity.depth", "int", "Fields within each other, fragments put in their place."
)
GRAPHQL_FIELDS = _own(
    "graphql.complexity.fields",
    "int",
    "Fields that the operation selects, fragments put in their place; 1,000,000 stands for more.",
    "{field}",
)
GRAPHQL_ALIASES = _own("graphql.complexity.aliases", "int", "Those with an alias.", "{field}")
GRAPHQL_PARSE_DURATION = _own(
    "graphql.parsing.duration", "double", "What it took to parse the document.", "s"
)
GRAPHQL_VALIDATION_DURATION = _own(
    "graphql.validation.duration", "double", "What it took to validate it.", "s"
)
GRAPHQL_RESOLVERS_COUNT = _own(
    "graphql.resolvers.count", "int", "Calls of the app's own resolvers.", "{call}"
)
GRAPHQL_RESULTS_COUNT = _own(
    "graphql.results.count", "int", "Results that a subscription has sent.", "{result}"
)
GRAPHQL_ERRORS_COUNT = _own(
    "graphql.errors.count", "int", "Errors of the operation, all results together.", "{error}"
)
GRAPHQL_ERROR_PATH = _own(
    "graphql.error.path", "string", "On an exception's event: the field, as `orders.3.customer`."
)
GRAPHQL_FIELD_NAME = _own("graphql.field.name", "string", "Field that a resolver is of.")
GRAPHQL_FIELD_PATH = _own(
    "graphql.field.path",
    "string",
    "Where in the result, as `orders.3.customer`; of several calls on one span `orders.*.customer`.",
)
GRAPHQL_FIELD_TYPE = _own("graphql.field.type", "string", "What the field returns: `Customer!`.")
GRAPHQL_PARENT_NAME = _own("graphql.parent.name", "string", "Type that has the field.")
GRAPHQL_RESOLVER_COUNT = _own(
    "graphql.resolver.count",
    "int",
    "Calls that stand on this span together: those beyond the first 100 of one path.",
    "{call}",
)
GRAPHQL_RESOLVER_DURATION = _own("graphql.resolver.duration", "double", "Their time together.", "s")
# Jobs: sent on a PRODUCER span, run on a CONSUMER span that links to it.
MESSAGING_SYSTEM = _standard("messaging.system", "string", "Message system of a job or message.")
MESSAGING_OPERATION_NAME = _standard(
    "messaging.operation.name", "string", "What the system calls the operation: `send`, `process`."
)
MESSAGING_OPERATION_TYPE = _standard("messaging.operation.type", "string", "`send` or `process`.")
MESSAGING_DESTINATION_NAME = _standard("messaging.destination.name", "string", "Name of the queue.")
MESSAGING_MESSAGE_ID = _standard("messaging.message.id", "string", "The same as `saq.job.id`.")
SAQ_JOB_ID = _own("saq.job.id", "string", "Id of the job in its queue.")
SAQ_JOB_KEY = _own(
    "saq.job.key", "string", "Its key: of two jobs with one key the second is refused."
)
SAQ_JOB_FUNCTION = _own("saq.job.function", "string", "Name of the function that it calls.")
SAQ_JOB_STATUS = _own(
    "saq.job.status",
    "string",
    "On sending `queued`; after a run `complete`, `failed`, `aborted`, or `queued` for another attempt.",
)
SAQ_JOB_SCHEDULED = _own(
    "saq.job.scheduled", "int", "Unix time before which it does not run; absent for at once.", "s"
)
SAQ_JOB_TIMEOUT = _own("saq.job.timeout", "int", "Time that a run may take; 0 for any.", "s")
SAQ_JOB_RETRIES = _own("saq.job.retries", "int", "Attempts that it has, the first one included.")
SAQ_JOB_TTL = _own(
    "saq.job.ttl", "int", "How long the queue keeps it when it has ended; 0 for ever.", "s"
)
SAQ_JOB_ATTEMPTS = _own("saq.job.attempts", "int", "Attempts made, this run included.")
SAQ_JOB_KWARGS = _own(
    "saq.job.kwargs", "string", "Its arguments, masked, cut at `JOBS_VALUE_LENGTH`."
)
SAQ_JOB_OPERATION = _own(
    "saq.job.operation",
    "string",
    "The method of the queue that sent it: `enqueue`, `apply`, `map`, or `cron` for the worker's own.",
)
SAQ_JOB_BATCH = _own(
    "saq.job.batch", "boolean", "Sent while a `queue.batch()` was open, which may still abort it."
)
SAQ_JOB_REFUSED = _own(
    "saq.job.refused", "boolean", "The queue did not take it: a job with its key is there."
)
SAQ_JOB_WAITED = _own(
    "saq.job.waited",
    "double",
    "From when it was first sent, or due, to the start of this run.",
    "s",
)
SAQ_JOB_RESULT = _own("saq.job.result", "string", "What it returned, masked, cut.")
SAQ_JOB_ERROR = _own("saq.job.error", "string", "Why it was aborted or is to be run again, masked.")

# The resource.
SERVICE_NAME = _standard("service.name", "string", "Name of the service.")
PROCESS_PID = _standard("process.pid", "int", "Process id.")
DEPLOYMENT_ENVIRONMENT_NAME = _standard(
    "deployment.environment.name",
    "string",
    "prod, production, live or staging switch the toolbar off.",
)
DEPLOYMENT_ENVIRONMENT = _standard("deployment.environment", "string", "The old name of the same.")

# Read only: what other instrumentations write for the same facts.
OLD_DB_SYSTEM = _standard("db.system", "string", "Old name of db.system.name.")
OLD_DB_STATEMENT = _standard("db.statement", "string", "Old name of db.query.text.")
OLD_DB_OPERATION = _standard("db.operation", "string", "Old name of db.operation.name.")
OLD_HTTP_METHOD = _standard("http.method", "string", "Old name of http.request.method.")
OLD_HTTP_STATUS_CODE = _standard(
    "http.status_code", "int", "Old name of http.response.status_code."
)
OLD_HTTP_TARGET = _standard("http.target", "string", "Old name of url.path and url.query.")
OLD_HTTP_URL = _standard("http.url", "string", "Old name of url.full.")
OLD_DB_NAME = _standard("db.name", "string", "Old name of db.namespace.")
OLD_DB_SQL_TABLE = _standard("db.sql.table", "string", "Old name of db.collection.name.")
OLD_HTTP_SCHEME = _standard("http.scheme", "string", "Old name of url.scheme.")
OLD_HTTP_HOST = _standard("http.host", "string", "Old name of server.address, with the port.")
OLD_HTTP_USER_AGENT = _standard("http.user_agent", "string", "Old name of user_agent.original.")
OLD_HTTP_CLIENT_IP = _standard("http.client_ip", "string", "Old name of client.address.")
OLD_HTTP_FLAVOR = _standard("http.flavor", "string", "Old name of network.protocol.version.")
OLD_HTTP_REQUEST_SIZE = _standard(
    "http.request_content_length", "int", "Old name of http.request.body.size.", "By"
)
OLD_HTTP_RESPONSE_SIZE = _standard(
    "http.response_content_length", "int", "Old name of http.response.body.size.", "By"
)
OLD_NET_PEER_NAME = _standard("net.peer.name", "string", "Old name of server.address on clients.")
OLD_NET_PEER_IP = _standard("net.peer.ip", "string", "Old name of client.address on servers.")
OLD_CODE_FILE_PATH = _standard("code.filepath", "string", "Old name of code.file.path.")
OLD_CODE_LINE_NUMBER = _standard("code.lineno", "int", "Old name of code.line.number.")
OLD_CODE_FUNCTION = _standard("code.function", "string", "Old name of code.function.name.")
RPC_SYSTEM = _standard("rpc.system", "string", "Remote procedure call system of an outgoing call.")


# What alerts read of forms.
REQUEST_FORM = _own("toolbar.request.form.", "string", "Form fields by name, masked, cut.")
