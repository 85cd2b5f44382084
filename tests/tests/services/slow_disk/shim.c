/* A disk that hangs on command, for claude-api under LD_PRELOAD (ld.so(8)).
 *
 * A call on a spool file (`record`, `output` or `events`) waits while $SLOW_DISK/CALL-FILE exists, for example
 * $SLOW_DISK/write-output. It leaves $SLOW_DISK/hung-CALL-FILE before it waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void wait_for_disk(const char *call, int fd)
{
    const char *folder = getenv("SLOW_DISK");
    char link[64], file[4096], hang[4200], mark[4200];
    if (folder == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, file, sizeof file - 1);
    if (length <= 0)
        return;
    file[length] = 0;
    if (strstr(file, "/executions/") == NULL)
        return;
    const char *name = strrchr(file, '/') + 1;
    snprintf(hang, sizeof hang, "%s/%s-%s", folder, call, name);
    if (access(hang, F_OK) != 0)
        return;
    snprintf(mark, sizeof mark, "%s/hung-%s-%s", folder, call, name);
    int marked = open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (marked >= 0)
        close(marked);
    while (access(hang, F_OK) == 0)
        usleep(2000);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "pwrite64");
    wait_for_disk("write", fd);
    return next(fd, bytes, length, at);
}

int fdatasync(int fd)
{
    static int (*next)(int);
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk("sync", fd);
    return next(fd);
}
