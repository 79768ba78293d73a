/* libfaketime knows pthread_cond_timedwait, and not C11's cnd_timedwait, by which librdkafka waits while it starts and
 * closes: that would wait for a moment of the real clock that was reckoned by the other one.  Preloaded beside it. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    /* In glibc they are the same objects. */
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
    }
}
