/* The container's log: k8s-file (CRI) lines or Docker's json-file, rotated by size. */
#include "monitor.h"

static int log_fd = -1;
static int64_t log_size;
static char out[2048];
static struct text line = { out, 0, sizeof out };

void log_open(void)
{
    if (!config.log_path)
        return;
    struct statx st;
    log_fd = (int)SYS(openat, AT_FDCWD, config.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    log_size = log_fd >= 0 && SYS(statx, log_fd, "", AT_EMPTY_PATH, STATX_SIZE, &st) >= 0 ? (int64_t)st.stx_size : 0;
}

static void flush(void)
{
    if (log_fd >= 0 && line.used) {
        write_all(log_fd, line.at, line.used);
        log_size += (int64_t)line.used;
    }
    line.used = 0;
}

static void emit(const char *s, size_t n)
{
    while (n) {
        size_t room = line.size - 1 - line.used, part = n < room ? n : room;
        put_bytes(&line, s, part);
        s += part, n -= part;
        if (n)
            flush();
    }
}

static void emit_string(const char *s)
{
    emit(s, strlen(s));
}

static void numbered(struct text *path, int64_t n)
{
    put(path, config.log_path);
    if (n) {
        put(path, ".");
        put_number(path, n);
    }
}

/* ctr.log → ctr.log.1 → ctr.log.2 …; the oldest is overwritten. */
static void rotate(void)
{
    if (config.log_bytes <= 0 || log_size < config.log_bytes)
        return;
    for (int64_t n = config.log_files - 1; n >= 1; n--) {
        TEXT(from, PATH_MAX);
        TEXT(to, PATH_MAX);
        numbered(&from, n - 1);
        numbered(&to, n);
        SYS(renameat2, AT_FDCWD, from.at, AT_FDCWD, to.at, 0);
    }
    SYS(close, log_fd);
    if (config.log_files <= 1)
        SYS(unlinkat, AT_FDCWD, config.log_path, 0);
    log_open();
}

/* Civil date of a day count since 1970 (Howard Hinnant's days_from_civil, inverted). */
static void put_time(struct text *to, int64_t ns)
{
    int64_t seconds = ns / 1000000000, day = seconds / 86400, left = seconds % 86400;
    day += 719468;
    int64_t era = day / 146097, of_era = day % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t date = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    put_padded(to, (uint64_t)(year + era * 400 + (month <= 2)), 4);
    put(to, "-");
    put_padded(to, (uint64_t)month, 2);
    put(to, "-");
    put_padded(to, (uint64_t)date, 2);
    put(to, "T");
    put_padded(to, (uint64_t)left / 3600, 2);
    put(to, ":");
    put_padded(to, (uint64_t)left / 60 % 60, 2);
    put(to, ":");
    put_padded(to, (uint64_t)left % 60, 2);
    put(to, ".");
    put_padded(to, (uint64_t)(ns % 1000000000), 9);
}

/* Length of the UTF-8 sequence at s (n bytes left), or 0 if it is not one. */
static size_t sequence(const unsigned char *s, size_t n)
{
    size_t size = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3
                : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (!size || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

static void emit_json(const char *s, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    while (n) {
        unsigned char c = (unsigned char)*s;
        size_t size = sequence((const unsigned char *)s, n);
        if (!size) {
            emit_string("\\ufffd");
            size = 1;
        } else if (c == '"' || c == '\\') {
            char escaped[2] = { '\\', (char)c };
            emit(escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            char escaped[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
            emit(escaped, 6);
        } else {
            emit(s, size);
        }
        s += size, n -= size;
    }
}

static void write_line(const char *stream, const char *data, size_t n, int whole)
{
    TEXT(time, 64);
    put_time(&time, now_ns(CLOCK_REALTIME));
    if (config.log_format == 2) {
        emit_string("{\"log\":\"");
        emit_json(data, n);
        emit_string(whole ? "\\n\",\"stream\":\"" : "\",\"stream\":\"");
        emit_string(stream);
        emit_string("\",\"time\":\"");
        emit_string(time.at);
        emit_string("Z\"}\n");
    } else {
        emit_string(time.at);
        emit_string("+00:00 ");
        emit_string(stream);
        emit_string(whole ? " F " : " P ");
        emit(data, n);
        emit_string("\n");
    }
    flush();
    rotate();
}

void log_write(const char *stream, const char *data, size_t n)
{
    if (log_fd < 0)
        return;
    while (n) {
        size_t size = 0;
        while (size < n && data[size] != '\n')
            size++;
        int whole = size < n;
        write_line(stream, data, size, whole);
        data += size + (size_t)whole;
        n -= size + (size_t)whole;
    }
}
