/* A disk that takes its time: preloaded into a process, each fsync and fdatasync waits first, then does its work.
 * ANNALS_SLOW_FSYNC_MICROS says how long.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_a_while(void) {
    const char *text = getenv("ANNALS_SLOW_FSYNC_MICROS");
    long micros = text ? strtol(text, NULL, 10) : 0;
    struct timespec left = {micros / 1000000, micros % 1000000 * 1000};
    while (nanosleep(&left, &left)) {}
}

int fsync(int fd) {
    wait_a_while();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    wait_a_while();
    return (int)syscall(SYS_fdatasync, fd);
}
