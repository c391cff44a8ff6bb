# How `lazy.py` is compiled.

from .light cimport LightSpan


cdef class LazySpan(LightSpan):
    cdef public object _above, _facts, _server

    cpdef _new_facts(self)
    cpdef _root(self)
    cpdef _rooted(self, span)
