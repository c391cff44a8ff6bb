# How `stepping.py` is compiled.

cimport cython

from .work cimport Sums, Work


cdef class Observer:
    cdef public long long blocking, long_wait

    cpdef Work creating(self, coro, name)
    cpdef finished(self, Work work, task, long long now)


cdef class Watch:
    cdef public object loop, extra, culprit
    cdef public Work work
    cdef public list outer
    cdef public long long since, step, longest
    cdef public unsigned long thread
    cdef public long native, pid
    cdef public bint on
    cdef object __weakref__

    cpdef interrupt(self)
    cpdef resume(self, long long took)


cdef class LoopMethods:
    cdef public Watch watch
    cdef public Observer observer
    cdef public long long long_wait, notable
    cdef Work _creating(self, coro, dict kwargs)
    cdef object _create_task, _get_task_factory, _real_close, _schedule, _step, _unwatch


@cython.locals(watch=Watch, work=Work, last="long long", start="long long")
cpdef run(object task, LoopMethods methods, long long ready, object callback, tuple args)

@cython.locals(start="long long")
cdef long long _begins(
    LoopMethods methods, Watch watch, Work work, object task, long long ready
) except -1

@cython.locals(end="long long", took="long long", own="long long", since="long long", account=Sums)
cdef _has_run(
    LoopMethods methods, Watch watch, Work work, object task, long long start, long long last
)

@cython.locals(marks=list)
cdef _mark(LoopMethods methods, Work work, long long start, long long end, long long last)
