# How `observer.py` is compiled.

cimport cython

from otel_toolbar.signals.core.record cimport Record
from otel_toolbar.signals.core.stepping cimport Observer
from otel_toolbar.signals.core.work cimport Work

from .account cimport Account
from .spans cimport TaskSpan


cdef class TaskObserver(Observer):
    cdef long long _await_threshold, _lag_interval, _max_tasks
    cdef bint _stacks
    cdef public object _watchdog
    cdef object _pid


@cython.locals(account=Account, work=Work)
cdef Work _start(Record record, label, place)

cdef tuple _outcome(task)
