/* The handful of string functions the compiler and the rest of the helper need. */
#include "sys.h"

void *memcpy(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;
    while (n--)
        *t++ = *f++;
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;
    if (t <= f)
        return memcpy(to, from, n);
    while (n--)
        t[n] = f[n];
    return to;
}

void *memset(void *to, int value, size_t n)
{
    char *t = to;
    while (n--)
        *t++ = (char)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int starts_with(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return 1;
}

const char *find_char(const char *s, char c)
{
    for (; *s; s++)
        if (*s == c)
            return s;
    return NULL;
}

void put_bytes(struct text *t, const char *s, size_t n)
{
    size_t room = t->size - 1 - t->used;
    if (n > room)
        n = room;
    memcpy(t->at + t->used, s, n);
    t->used += n;
    t->at[t->used] = 0;
}

void put(struct text *t, const char *s)
{
    put_bytes(t, s, strlen(s));
}

void put_padded(struct text *t, uint64_t n, int width)
{
    char digits[24];
    int i = sizeof digits;
    do
        digits[--i] = (char)('0' + n % 10), width--;
    while ((n /= 10) && i);
    while (width-- > 0 && i)
        digits[--i] = '0';
    put_bytes(t, digits + i, sizeof digits - i);
}

void put_number(struct text *t, int64_t n)
{
    if (n < 0)
        put(t, "-");
    put_padded(t, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 1);
}
