/* Lines of the container's user databases: its user, whom the image does not know, gets a name.  passwd(5), group(5) */
#include "setup.h"

#define LARGEST (256 << 10) /* a database longer than this is left alone */

static char database[LARGEST];

/* The length of the field that begins at `at`, which ends with a colon, a line or `end`. */
static size_t field_size(const char *at, const char *end)
{
    const char *to = at;
    while (to < end && *to != ':' && *to != '\n')
        to++;
    return (size_t)(to - at);
}

static const char *next_field(const char *at, const char *end)
{
    at += field_size(at, end);
    return at < end && *at == ':' ? at + 1 : at;
}

static int same_field(const char *one, const char *one_end, const char *other, const char *other_end)
{
    size_t size = field_size(one, one_end);
    return size && size == field_size(other, other_end) && !memcmp(one, other, size);
}

/* The name is the first field and the number the third, in both databases. */
static int is_known(const char *line, const char *end, size_t size)
{
    const char *number = next_field(next_field(line, end), end);
    for (const char *at = database, *stop = database + size; at < stop;) {
        const char *other = next_field(next_field(at, stop), stop);
        if (same_field(line, end, at, stop) || same_field(number, end, other, stop))
            return 1;
        while (at < stop && *at++ != '\n')
            ;
    }
    return 0;
}

long add_entry(struct plan *args)
{
    const char *path = next_string(args), *line = next_string(args);
    struct statx st;
    long fd = resolve(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR ? 0 : blame(fd, "open", path);
    long size = SYS(statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
    if (size >= 0 && (st.stx_mode & 0170000) == 0100000 && st.stx_size < LARGEST)
        size = SYS(read, fd, database, LARGEST);
    else
        size = -EINVAL; /* whatever it is, it is no database of ours */
    SYS(close, fd);
    if (size < 0 || is_known(line, line + strlen(line), (size_t)size))
        return 0;
    fd = resolve(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY, 0);
    long done = fd;
    if (done >= 0 && size && database[size - 1] != '\n')
        done = SYS(write, fd, "\n", 1);
    if (done >= 0)
        done = SYS(write, fd, line, strlen(line));
    if (fd >= 0)
        SYS(close, fd);
    return done == -EROFS ? 0 : named(done < 0 ? done : 0, "add a line to", path);
}
