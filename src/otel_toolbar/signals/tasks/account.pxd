# How `account.py` is compiled.

from otel_toolbar.signals.core.stepping cimport Watch
from otel_toolbar.signals.core.work cimport Sums, Work


cdef class Account(Sums):
    cdef public Watch watch
    cdef public Work handler
    cdef public Account other, outer
    cdef public object record, server, outer_marks, outer_span
    cdef public dict waits
    cdef public set threads
    cdef public long long max_tasks, begin, offset, tasks, spans, dropped, blocking, blocked
    cdef public long long lag_count, lag_total, other_lag
    cdef object _observer
    cdef long long _first_step, _queued, _below
