"""How many threads the linear algebra of a score may use."""

from collections.abc import Iterator
from contextlib import contextmanager

from joblib import cpu_count
from threadpoolctl import threadpool_limits


@contextmanager
def half_the_cores() -> Iterator[None]:
    """Keep BLAS and OpenMP to half the cores this process may use; also a decorator.

    Their threads wait for each other in busy loops, so that one core taken by anyone else, such as
    a data loader, stalls all of them: on two cores with one other job, the kernel score of 1,257
    digits took 45 s with two threads and 1.3 s with one.
    """
    with threadpool_limits(max(1, cpu_count() // 2)):
        yield
