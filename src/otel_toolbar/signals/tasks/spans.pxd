# How `spans.py` is compiled.

from otel_toolbar.signals.core.lazy cimport LazySpan
from otel_toolbar.signals.core.record cimport Record
from otel_toolbar.signals.core.work cimport Work


cdef class TaskSpan(LazySpan):
    cdef public Work work
    cdef public object root, _name, _parent_id, _state, _told

    cpdef finish(self, state, long long now)


cdef tuple _measured(Work work, state, long long last)
