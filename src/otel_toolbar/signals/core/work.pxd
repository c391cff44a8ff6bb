# How `work.py` is compiled: figures are C integers, which a step counts without making objects.

cdef class Sums:
    cdef public long long busy


cdef class Work:
    cdef public Sums account
    cdef public object label, place, span, current, stands, task_name
    cdef public list marks
    cdef public long long created, first, last, steps, busy, queued, nested, below, grain
