/* A disk that loses power: preloaded into a process, it remembers for each file of one directory what a power cut would leave.
 *
 *     process ── write, truncate ──▶ the real file, as always (what the operating system has in memory)
 *             ── fsync ───────────▶ the file's dirty pages become durable (kept here, in memory)
 *     at the given operation: for each file, take what is durable, add some of the dirty sectors, write that into the image
 *     directory, and kill the process.
 *
 * What is modelled:
 * - Pages of 4 KiB become dirty when they are written and clean when they are fsynced. Now and then a dirty page becomes durable
 *   by itself, as the operating system writes pages back in its own time.
 * - At the cut each dirty sector of 512 bytes is durable or not, so writes are torn and reordered. Lengths likewise.
 * - A new name, or a removed one, is durable after an fsync of the file or of the directory; else perhaps.
 * - A failed fsync (EIO) makes the dirty pages clean without making them durable, as Linux does: the next fsync succeeds and
 *   does not write them, unless they are written again.
 * - `-shm` files are shared memory and do not survive.
 *
 * Environment: ANNALS_SHIM_DIR (an absolute path without links), ANNALS_SHIM_IMAGE, ANNALS_SHIM_SEED,
 * ANNALS_SHIM_CUT_AT (count of operations), ANNALS_SHIM_FAIL_FSYNC (count of fsyncs, the first that fails; 0: none),
 * ANNALS_SHIM_FAIL_COUNT (how many fail in a row),
 * ANNALS_SHIM_IGNORE_FSYNC (1: fsyncs say they are done, and are not).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define SECTOR 512
#define FDS 4096
#define NO_LENGTH SIZE_MAX

struct file {
    char name[256];        /* within the directory */
    int own;               /* a descriptor of ours; never closed, because closing one gives up the process's locks */
    int linked;            /* the name is there now */
    int name_durable;      /* ... and would be after a power cut */
    int unlink_durable;    /* the name was removed, durably */
    uint8_t *durable;      /* what is on disk */
    size_t durable_len, durable_room;
    uint8_t *dirty;        /* one byte a page */
    size_t dirty_pages;
    size_t cut_to;         /* the shortest length since the last fsync, if it was shortened */
    struct file *next;     /* newest first; a name may be there more than once, when it was removed and made again */
};

static struct file *files;
static struct file *of_fd[FDS];
static uint8_t is_directory[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[512], image[512];
static uint64_t state, operations, fsyncs, cut_at, fail_fsync, fail_count;
static int ignore_fsync, ready;

static void die(const char *what) {
    dprintf(2, "shim: %s (errno %d)\n", what, errno);
    _exit(99);
}

static uint64_t number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void start(void) {
    if (ready) return;
    ready = 1;
    const char *dir = getenv("ANNALS_SHIM_DIR"), *to = getenv("ANNALS_SHIM_IMAGE");
    if (!dir || !to) return;
    snprintf(directory, sizeof directory, "%s", dir);
    snprintf(image, sizeof image, "%s", to);
    state = number("ANNALS_SHIM_SEED");
    cut_at = number("ANNALS_SHIM_CUT_AT");
    fail_fsync = number("ANNALS_SHIM_FAIL_FSYNC");
    fail_count = number("ANNALS_SHIM_FAIL_COUNT");
    ignore_fsync = number("ANNALS_SHIM_IGNORE_FSYNC") != 0;
}

static uint64_t dice(uint64_t below) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) % below;
}

static size_t length_of(struct file *f) {
    struct stat at;
    if (fstat(f->own, &at)) die("fstat");
    return (size_t)at.st_size;
}

static void make_room(struct file *f, size_t len) {
    if (len <= f->durable_room) return;
    size_t room = (len + PAGE) * 2;
    f->durable = realloc(f->durable, room);
    if (!f->durable) die("memory");
    memset(f->durable + f->durable_room, 0, room - f->durable_room);
    f->durable_room = room;
}

static void set_dirty(struct file *f, size_t from, size_t len) {
    if (!len) return;
    size_t last = (from + len - 1) / PAGE;
    if (last >= f->dirty_pages) {
        size_t pages = (last + 1) * 2;
        f->dirty = realloc(f->dirty, pages);
        if (!f->dirty) die("memory");
        memset(f->dirty + f->dirty_pages, 0, pages - f->dirty_pages);
        f->dirty_pages = pages;
    }
    for (size_t page = from / PAGE; page <= last; page++) f->dirty[page] = 1;
}

/* Copies bytes of the real file to what is durable. */
static void settle(struct file *f, size_t from, size_t len) {
    uint8_t bytes[PAGE];
    ssize_t got = syscall(SYS_pread64, f->own, bytes, len, from);
    if (got < 0) die("pread");
    if (got == 0) return;
    make_room(f, from + (size_t)got);
    memcpy(f->durable + from, bytes, (size_t)got);
}

static void set_durable_length(struct file *f, size_t len) {
    make_room(f, len);
    if (len < f->durable_len) memset(f->durable + len, 0, f->durable_len - len);
    f->durable_len = len;
}

static void forget_what_was_cut(struct file *f) {
    if (f->cut_to < f->durable_len) memset(f->durable + f->cut_to, 0, f->durable_len - f->cut_to);
    f->cut_to = NO_LENGTH;
}

static void make_durable(struct file *f) {
    forget_what_was_cut(f);
    for (size_t page = 0; page < f->dirty_pages; page++)
        if (f->dirty[page]) settle(f, page * PAGE, PAGE), f->dirty[page] = 0;
    set_durable_length(f, length_of(f));
}

/* The operating system writes a page back in its own time. */
static void write_back_something(void) {
    if (dice(16)) return;
    for (struct file *f = files; f; f = f->next) {
        if (!f->dirty_pages || dice(2)) continue;
        size_t page = dice(f->dirty_pages);
        if (!f->dirty[page] || f->cut_to != NO_LENGTH) continue;
        settle(f, page * PAGE, PAGE);
        f->dirty[page] = 0;
        size_t end = (page + 1) * PAGE, len = length_of(f);
        if (end > len) end = len;
        if (end > f->durable_len) f->durable_len = end;
    }
}

static void write_image(struct file *f, uint64_t kept_of_8) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", image, f->name);
    size_t len = length_of(f);
    if (dice(8) < kept_of_8) {
        forget_what_was_cut(f);
        set_durable_length(f, len);
    }
    for (size_t page = 0; page < f->dirty_pages; page++)
        for (size_t at = page * PAGE; f->dirty[page] && at < (page + 1) * PAGE; at += SECTOR)
            if (at < f->durable_len && dice(8) < kept_of_8) settle(f, at, SECTOR);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) die("image");
    for (size_t at = 0; at < f->durable_len;) {
        ssize_t wrote = syscall(SYS_write, fd, f->durable + at, f->durable_len - at);
        if (wrote <= 0) die("image");
        at += (size_t)wrote;
    }
    syscall(SYS_close, fd);
}

static void cut_the_power(void) {
    uint64_t kept_of_8 = dice(9);
    for (struct file *f = files; f; f = f->next) {
        /* All that ever had this name are decided together, the newest first. */
        int decided = 0;
        for (struct file *g = files; g != f; g = g->next) decided |= !strcmp(g->name, f->name);
        if (decided) continue;
        struct file *kept = NULL;
        for (struct file *g = f; g && !kept; g = g->next) {
            if (strcmp(g->name, f->name)) continue;
            int there = g->linked ? g->name_durable || dice(8) < kept_of_8
                                  : !g->unlink_durable && g->name_durable && dice(8) >= kept_of_8;
            if (there) kept = g;
        }
        if (kept) write_image(kept, kept_of_8);
    }
    dprintf(2, "shim: power cut at operation %llu\n", (unsigned long long)operations);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static void operation(void) {
    operations++;
    if (cut_at && operations >= cut_at) cut_the_power();
    write_back_something();
}

static const char *name_in_directory(const char *path) {
    size_t len = strlen(directory);
    if (!len || strncmp(path, directory, len) || path[len] != '/') return NULL;
    const char *name = path + len + 1, *dash = strrchr(name, '-');
    if (strchr(name, '/') || (dash && !strcmp(dash, "-shm"))) return NULL;
    return name;
}

static struct file *linked_file(const char *name) {
    for (struct file *f = files; f; f = f->next)
        if (f->linked && !strcmp(f->name, name)) return f;
    return NULL;
}

static void track(const char *path, int existed) {
    const char *name = name_in_directory(path);
    if (!name || linked_file(name)) return;
    struct file *f = calloc(1, sizeof *f);
    if (!f) die("memory");
    snprintf(f->name, sizeof f->name, "%s", name);
    f->own = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (f->own < 0) die("open");
    f->linked = 1;
    f->cut_to = NO_LENGTH;
    f->name_durable = existed;
    f->next = files;
    files = f;
    /* What was there before this process began is durable. */
    size_t len = length_of(f);
    for (size_t at = 0; at < len; at += PAGE) settle(f, at, PAGE);
    set_durable_length(f, len);
}

static int open_it(int at, const char *path, int flags, mode_t mode) {
    start();
    pthread_mutex_lock(&lock);
    struct stat before;
    int existed = name_in_directory(path) && !stat(path, &before);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        of_fd[fd] = NULL;
        is_directory[fd] = directory[0] && !strcmp(path, directory);
        const char *name = name_in_directory(path);
        if (name) {
            track(path, existed);
            of_fd[fd] = linked_file(name);
            if ((flags & O_TRUNC) && existed) of_fd[fd]->cut_to = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(NAME)                                           \
    int NAME(const char *path, int flags, ...) {             \
        va_list rest;                                        \
        va_start(rest, flags);                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                        \
        return open_it(AT_FDCWD, path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(NAME)                                         \
    int NAME(int at, const char *path, int flags, ...) {     \
        va_list rest;                                        \
        va_start(rest, flags);                               \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                        \
        return open_it(at, path, flags, mode);               \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS) of_fd[fd] = NULL, is_directory[fd] = 0;
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static int tracked(int fd) { return fd >= 0 && fd < FDS && of_fd[fd]; }

ssize_t write(int fd, const void *bytes, size_t len) {
    if (!tracked(fd)) return syscall(SYS_write, fd, bytes, len);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t wrote = syscall(SYS_write, fd, bytes, len);
    if (wrote > 0) set_dirty(of_fd[fd], (size_t)at, (size_t)wrote);
    operation();
    pthread_mutex_unlock(&lock);
    return wrote;
}

static ssize_t pwrite_it(int fd, const void *bytes, size_t len, off_t at) {
    if (!tracked(fd)) return syscall(SYS_pwrite64, fd, bytes, len, at);
    pthread_mutex_lock(&lock);
    ssize_t wrote = syscall(SYS_pwrite64, fd, bytes, len, at);
    if (wrote > 0) set_dirty(of_fd[fd], (size_t)at, (size_t)wrote);
    operation();
    pthread_mutex_unlock(&lock);
    return wrote;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) { return pwrite_it(fd, bytes, len, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at) { return pwrite_it(fd, bytes, len, at); }

static int truncate_it(int fd, off_t len) {
    if (!tracked(fd)) return (int)syscall(SYS_ftruncate, fd, len);
    pthread_mutex_lock(&lock);
    struct file *f = of_fd[fd];
    int result = (int)syscall(SYS_ftruncate, fd, len);
    if (!result) {
        if ((size_t)len < f->cut_to) f->cut_to = (size_t)len;
        for (size_t page = ((size_t)len + PAGE - 1) / PAGE; page < f->dirty_pages; page++) f->dirty[page] = 0;
    }
    operation();
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t len) { return truncate_it(fd, len); }
int ftruncate64(int fd, off_t len) { return truncate_it(fd, len); }

static int sync_it(int fd, long call) {
    if (!tracked(fd) && !(fd >= 0 && fd < FDS && is_directory[fd])) return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    operation();
    int result = 0;
    if (!tracked(fd)) {
        for (struct file *f = files; f && !ignore_fsync; f = f->next) {
            if (f->linked) f->name_durable = 1;
            else f->unlink_durable = 1;
        }
    } else if (++fsyncs >= fail_fsync && fail_fsync && fsyncs < fail_fsync + fail_count) {
        memset(of_fd[fd]->dirty, 0, of_fd[fd]->dirty_pages);
        dprintf(2, "shim: fsync %llu of %s fails\n", (unsigned long long)fsyncs, of_fd[fd]->name);
        errno = EIO;
        result = -1;
    } else if (!ignore_fsync) {
        /* The real fsync is left out: nothing here needs it, and it is slow. */
        make_durable(of_fd[fd]);
        of_fd[fd]->name_durable = 1;
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int fsync(int fd) { return sync_it(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_it(fd, SYS_fdatasync); }

int unlink(const char *path) {
    start();
    pthread_mutex_lock(&lock);
    const char *name = name_in_directory(path);
    struct file *f = name ? linked_file(name) : NULL;
    int result = (int)syscall(SYS_unlink, path);
    if (!result && f) {
        f->linked = 0;
        operation();
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    start();
    if (name_in_directory(from) || name_in_directory(to)) die("the model knows no rename");
    return (int)syscall(SYS_rename, from, to);
}
