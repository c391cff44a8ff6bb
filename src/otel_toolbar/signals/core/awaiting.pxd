# How `awaiting.py` is compiled.

cimport cython


cpdef point(task, before=*)

@cython.locals(below=list, kinds=dict)
cdef tuple _innermost(awaited)

cdef _named(list below)
