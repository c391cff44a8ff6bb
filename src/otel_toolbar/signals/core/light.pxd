# How `light.py` is compiled.

cimport cython

from .record cimport Record


cdef class LightSpan:
    cdef public object end_time, limits, resource, span_id, start_time
    cdef public object _context, _events, _links, _status
    cdef public Record record
    cdef dict __dict__
    cdef object __weakref__

    cpdef begin(self, Record record, start_time)
    cpdef facts(self)
    cpdef parts(self)
    cpdef ids(self)
    cpdef get_span_context(self)
    cpdef update_name(self, name)
    cpdef figures(self)
    cpdef set_attribute(self, key, value)
    cpdef end(self, end_time=*)


cdef class StoredSpan(LightSpan):
    cdef public object deferred, instrumentation_scope, kind, name, otel_toolbar_unit, parent
    cdef public dict own
    cdef public tuple shared


@cython.locals(record=Record)
cpdef start(name, kind, attributes, scope, start_time=*, shared=*, deferred=*)
cpdef unit_of(span)
cpdef late(span, key, value)
