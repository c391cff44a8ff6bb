# How `callsite.py` is compiled.

cimport cython


cdef int _PASSES_ON, _CALLS, _BEGINS, _ACTS, _SERVES
cdef dict _roles, _places, _told


@cython.locals(role=int)
cpdef caller(through_frameworks=*)

cpdef stack()
cpdef attributes(place)
cpdef is_of_the_app(place)
cpdef place_of(frame)
cpdef int kind_of(filename) except -1

@cython.locals(kind=int, app=int, router=int, own=list, installed=list, known=dict)
cdef tuple _walk(start, bint here=*)

cdef _known(list frames)
