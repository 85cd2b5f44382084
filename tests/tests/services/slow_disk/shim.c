/* A slow disk for claude-api, loaded by LD_PRELOAD (ld.so(8)). Files in the folder $SLOW_DISK switch it.
 *
 * Hang: a call on a spool file (`record`, `output` or `events`) waits while the file CALL-FILE exists, for
 * example `write-output`. It creates `hung-CALL-FILE` before it waits.
 *
 * Delay: while the file `delay` exists, each write, sync and rename below a spool waits for the milliseconds
 * in that file. It adds a byte to the file `delayed` before it waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void delay(const char *folder)
{
    char path[4200], text[16];
    snprintf(path, sizeof path, "%s/delay", folder);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0)
        return;
    text[length] = 0;
    snprintf(path, sizeof path, "%s/delayed", folder);
    int count = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (count >= 0) {
        if (write(count, ".", 1) != 1)
            abort();
        close(count);
    }
    usleep(1000 * (useconds_t)atoi(text));
}

static void wait_for_path(const char *call, const char *file)
{
    const char *folder = getenv("SLOW_DISK");
    char hang[4200], mark[4200];
    if (folder == NULL)
        return;
    if (strstr(file, "/spool/") != NULL)
        delay(folder);
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

static void wait_for_disk(const char *call, int fd)
{
    char link[64], file[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, file, sizeof file - 1);
    if (length <= 0)
        return;
    file[length] = 0;
    wait_for_path(call, file);
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

int fsync(int fd)
{
    static int (*next)(int);
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "fsync");
    wait_for_disk("fsync", fd);
    return next(fd);
}

int rename(const char *from, const char *to)
{
    static int (*next)(const char *, const char *);
    if (next == NULL)
        next = dlsym(RTLD_NEXT, "rename");
    wait_for_path("rename", to);
    return next(from, to);
}
