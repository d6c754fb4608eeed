/* A stand-in for NVIDIA's driver library: its cards are the lines of the file that $CARDS names, read at every call.
   UUID utilisation bytes-in-use [pid:bytes]... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };
typedef struct { unsigned pid; unsigned long used; unsigned instance, compute; } Process;
static char line[16][1024];

static unsigned cards(void) {
    unsigned count = 0;
    FILE *file = fopen(getenv("CARDS"), "r");
    while (file && count < 16 && fgets(line[count], sizeof line[0], file)) count++;
    if (file) fclose(file);
    return count;
}
static char *of(void *handle) { cards(); return line[(size_t)handle - 1]; }
int nvmlInitWithFlags(unsigned flags) { return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "an error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { return snprintf(text, size, "1.0") < 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = cards(); return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (cards(), strstr(line[index], "lost")) return LOST;
    *handle = (void *)((size_t)index + 1);
    return OK;
}
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    snprintf(text, size, "%s", of(handle));
    text[strcspn(text, " ")] = 0;
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (unsigned index = 0, count = cards(); index < count; index++)
        if (!strncmp(line[index], uuid, strlen(uuid))) return *handle = (void *)((size_t)index + 1), OK;
    return NOT_FOUND;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { return snprintf(text, size, "a card") < 0; }
static unsigned long number(void *handle, int which) {
    unsigned long found[2] = {0, 0};
    sscanf(of(handle), "%*s %lu %lu", &found[0], &found[1]);
    return found[which];
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long *memory) { /* total, free, used */
    memory[0] = 80UL << 30, memory[2] = number(handle, 1) + (600UL << 20), memory[1] = memory[0] - memory[2];
    return OK;
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, unsigned long *memory) { /* version, total, reserved, free, used */
    memory[1] = 80UL << 30, memory[2] = 600UL << 20, memory[4] = number(handle, 1), memory[3] = memory[1] - memory[4];
    return OK;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) {
    rates[0] = number(handle, 0), rates[1] = 0;
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *found) {
    unsigned room = *count, there = 0;
    char *text = of(handle);
    for (text = strchr(text, ':'); text; text = strchr(text + 1, ':'), there++) {
        char *begin = text;
        while (begin[-1] != ' ') begin--;
        if (there < room) found[there] = (Process){strtoul(begin, 0, 10), strtoul(text + 1, 0, 10), 0, 0};
    }
    *count = there;
    return there > room ? TOO_SMALL : OK;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, Process *found) { return *count = 0, OK; }
