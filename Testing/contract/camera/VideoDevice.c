/* A V4L2 camera at /dev/video0 for programs that are started with this library in LD_PRELOAD, where there is none.
 *
 * It offers YUYV at 640 x 480 and 320 x 240, 15 and 30 pictures each second, gives times of CLOCK_MONOTONIC, and works
 * as a kernel driver does: four buffers or fewer, a picture for which none is queued is dropped. Picture n is red on the
 * left and blue on the right; the luma of its middle row is 16 + n % 200.
 *
 * CAMERA_UNPLUGGED: a path; while a file is there the camera is not.
 * CAMERA_HANGS: a path; when a file is there no more pictures come until it is opened again.
 * CAMERA_DROPS: every so many pictures one is left out, as a driver does that has lost it; 0: none.
 * CAMERA_CODEC: a code of grey pixels of 16 bits such as "Y16 ", which it offers instead of YUYV; the pixel in a row and
 *   column is 100 * column + row. Its last byte has the highest bit for the other order of bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 4

static int device = -1;
static unsigned width = 640, height = 480, rate = 30;
static uint8_t *memory[BUFFERS];
static int queued[BUFFERS], queueLength;
static uint64_t number;
static struct timespec started;

static int isThere(const char *name)
{
    const char *path = getenv(name);
    return path && access(path, F_OK) == 0;
}

static int unplugged(void)
{
    return isThere("CAMERA_UNPLUGGED");
}

static int isOurs(const char *path)
{
    return path && strcmp(path, "/dev/video0") == 0;
}

static int openDevice(void)
{
    if (unplugged()) {
        errno = ENODEV;
        return -1;
    }
    if (device >= 0) {
        errno = EBUSY;
        return -1;
    }
    queueLength = 0;
    return device = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

static size_t frameSize(void)
{
    return (size_t)width * height * 2;
}

static unsigned codec(void)
{
    const char *code = getenv("CAMERA_CODEC");
    return code ? v4l2_fourcc(code[0], code[1], code[2], (uint8_t)code[3]) : V4L2_PIX_FMT_YUYV;
}

static void setFormat(struct v4l2_pix_format *pix, int keep)
{
    unsigned w = pix->width > 480 ? 640 : 320, h = w * 3 / 4;
    if (keep)
        width = w, height = h;
    memset(pix, 0, sizeof *pix);
    pix->width = w;
    pix->height = h;
    pix->pixelformat = codec();
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = 2 * w;
    pix->sizeimage = 2 * w * h;
    pix->colorspace = V4L2_COLORSPACE_SRGB;
}

static void draw(uint8_t *target, uint64_t n)
{
    if (codec() != V4L2_PIX_FMT_YUYV) {
        for (unsigned index = 0; index < width * height; ++index) {
            uint16_t value = 100 * (index % width) + index / width;
            ((uint16_t *)target)[index] = codec() >> 31 ? value << 8 | value >> 8 : value;
        }
        return;
    }
    for (unsigned row = 0; row < height; ++row)
        for (unsigned pair = 0; pair < width / 2; ++pair, target += 4) {
            int left = pair < width / 4;
            target[0] = target[2] = row == height / 2 ? 16 + n % 200 : left ? 81 : 41;
            target[1] = left ? 90 : 240;
            target[3] = left ? 240 : 110;
        }
}

static int take(struct v4l2_buffer *buffer)
{
    uint64_t expired = 0;
    const char *drops = getenv("CAMERA_DROPS");
    uint64_t every = drops ? strtoull(drops, 0, 10) : 0;
    do {
        if (read(device, &expired, sizeof expired) != sizeof expired) {
            errno = EAGAIN;
            return -1;
        }
        number += expired;
    } while (every && number % every == 0);
    if (!queueLength) {
        errno = EAGAIN;
        return -1;
    }
    if (isThere("CAMERA_HANGS")) {
        struct itimerspec never = {{0, 0}, {0, 0}};
        timerfd_settime(device, 0, &never, 0);
    }
    int index = queued[0];
    memmove(queued, queued + 1, --queueLength * sizeof *queued);
    draw(memory[index], number);
    uint64_t nanoseconds = started.tv_nsec + number * 1000000000ull / rate;
    memset(buffer, 0, sizeof *buffer);
    buffer->index = index;
    buffer->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer->memory = V4L2_MEMORY_MMAP;
    buffer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    buffer->bytesused = buffer->length = frameSize();
    buffer->sequence = number;
    buffer->timestamp.tv_sec = started.tv_sec + nanoseconds / 1000000000ull;
    buffer->timestamp.tv_usec = nanoseconds % 1000000000ull / 1000;
    return 0;
}

static int stream(int on)
{
    struct itimerspec period = {{0, 0}, {0, 0}};
    if (on) {
        period.it_value.tv_nsec = period.it_interval.tv_nsec = 1000000000 / rate;
        clock_gettime(CLOCK_MONOTONIC, &started);
        number = 0;
    } else {
        queueLength = 0;
    }
    return timerfd_settime(device, 0, &period, 0);
}

static int control(unsigned long request, void *argument)
{
    if (unplugged()) {
        errno = ENODEV;
        return -1;
    }
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *it = argument;
        memset(it, 0, sizeof *it);
        strcpy((char *)it->driver, "emulated");
        strcpy((char *)it->card, "Emulated camera");
        it->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    }
    case VIDIOC_G_INPUT:
        *(int *)argument = 0;
        return 0;
    case VIDIOC_S_INPUT:
        return 0;
    case VIDIOC_ENUMINPUT: {
        struct v4l2_input *it = argument;
        if (it->index)
            break;
        it->type = V4L2_INPUT_TYPE_CAMERA;
        return 0;
    }
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT:
        if (((struct v4l2_format *)argument)->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
            break;
        setFormat(&((struct v4l2_format *)argument)->fmt.pix, request == VIDIOC_S_FMT);
        return 0;
    case VIDIOC_G_FMT: {
        struct v4l2_format *it = argument;
        it->fmt.pix.width = width;
        setFormat(&it->fmt.pix, 0);
        return 0;
    }
    case VIDIOC_S_PARM: {
        struct v4l2_streamparm *it = argument;
        struct v4l2_fract *period = &it->parm.capture.timeperframe;
        if (period->numerator)
            rate = period->denominator / period->numerator <= 20 ? 15 : 30;
    } /* fall through */
    case VIDIOC_G_PARM: {
        struct v4l2_streamparm *it = argument;
        memset(&it->parm, 0, sizeof it->parm);
        it->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        it->parm.capture.timeperframe.numerator = 1;
        it->parm.capture.timeperframe.denominator = rate;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *it = argument;
        for (int index = 0; index < BUFFERS; ++index) {
            free(memory[index]);
            memory[index] = it->count ? calloc(1, frameSize()) : 0;
        }
        queueLength = 0;
        it->count = it->count > BUFFERS ? BUFFERS : it->count;
        return 0;
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *it = argument;
        it->length = frameSize();
        it->m.offset = it->index * 4096;
        return 0;
    }
    case VIDIOC_QBUF:
        if (queueLength < BUFFERS)
            queued[queueLength++] = ((struct v4l2_buffer *)argument)->index;
        return 0;
    case VIDIOC_DQBUF:
        return take(argument);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        return stream(request == VIDIOC_STREAMON);
    }
    errno = EINVAL;
    return -1;
}

/* ---- in place of the system's own */

static int openAny(const char *name, const char *path, int flags, mode_t mode)
{
    if (isOurs(path))
        return openDevice();
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    return real(path, flags, mode);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                        \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = va_arg(rest, mode_t);                                                                            \
        va_end(rest);                                                                                                  \
        return openAny(#name, path, flags, mode);                                                                      \
    }
OPEN(open)
OPEN(open64)

int ioctl(int descriptor, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (descriptor >= 0 && descriptor == device)
        return control(request & 0xffffffff, argument);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(descriptor, request, argument);
}

static void *map(const char *name, void *address, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    if (descriptor >= 0 && descriptor == device)
        return memory[offset / 4096];
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, name);
    return real(address, size, protection, flags, descriptor, offset);
}

void *mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    return map("mmap", address, size, protection, flags, descriptor, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    return map("mmap64", address, size, protection, flags, descriptor, offset);
}

int munmap(void *address, size_t size)
{
    for (int index = 0; index < BUFFERS; ++index)
        if (address && address == memory[index])
            return 0;
    int (*real)(void *, size_t) = dlsym(RTLD_NEXT, "munmap");
    return real(address, size);
}

int close(int descriptor)
{
    if (descriptor >= 0 && descriptor == device)
        device = -1;
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    return real(descriptor);
}
