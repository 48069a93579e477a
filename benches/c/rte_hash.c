/* What DPDK's rte_hash takes for a bare lookup: nanoseconds of CPU time a key, 32 keys a call and one, a line for each
 * round. benches/src/peer/rte_hash.rs compiles it, writes the keys to its standard input and reads the lines.
 *
 * The table is one that workers share: readers take no lock (RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF). It lies on
 * transparent huge pages, as the dataplane's tables do, where the kernel gives them: nothing is reserved for EAL.
 */
#define _GNU_SOURCE
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_malloc.h>

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Keys that are prepared, then looked up in one go; keys a call of the bulk lookup. */
enum { BATCH = 512, BULK = 32, MOST_KEY_BYTES = 64 };
static const size_t PAGE = 2 << 20;

static void try(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, rte_strerror(rte_errno));
        exit(1);
    }
}

static uint64_t nanos(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* portolan::table::hash::next_seed */
static uint64_t next_random(uint64_t *state) {
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

/* EAL without devices, files, reserved memory and ideas about which processor is ours. */
static void start(void) {
    char *arguments[] = {"rte_hash", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=error", "-m", "64"};
    cpu_set_t allowed;
    try(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
    try(rte_eal_init(sizeof arguments / sizeof *arguments, arguments) >= 0, "rte_eal_init");
    try(sched_setaffinity(0, sizeof allowed, &allowed) == 0, "sched_setaffinity");
}

/* A heap on huge pages; DPDK knows it as a socket. */
static int huge_heap(size_t bytes) {
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    char *memory = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    try(memory != MAP_FAILED, "mmap");
    memory += PAGE - (uintptr_t)memory % PAGE;
    madvise(memory, bytes, MADV_HUGEPAGE); /* where there are none, small ones do */
    try(rte_malloc_heap_create("huge") == 0, "rte_malloc_heap_create");
    try(rte_malloc_heap_memory_add("huge", memory, bytes, NULL, (unsigned)(bytes / PAGE), PAGE) == 0,
        "rte_malloc_heap_memory_add");
    return rte_malloc_heap_get_socket("huge");
}

/* Looks a batch up, `bulk` keys a call; how many were not found as they were added. */
static unsigned look_up(const struct rte_hash *table, const void **keys, const uint32_t *numbers, unsigned bulk) {
    unsigned wrong = 0;
    for (unsigned first = 0; first < BATCH; first += bulk) {
        void *found[BULK];
        if (bulk == 1) {
            wrong += rte_hash_lookup_data(table, keys[first], found) < 0 || (uintptr_t)found[0] != numbers[first];
            continue;
        }
        uint64_t hits = 0;
        rte_hash_lookup_bulk_data(table, keys + first, bulk, &hits, found);
        for (unsigned i = 0; i < bulk; i++)
            wrong += !(hits >> i & 1) || (uintptr_t)found[i] != numbers[first + i];
    }
    return wrong;
}

int main(int count_of_arguments, char **arguments) {
    try(count_of_arguments == 5, "rte_hash KEY_BYTES KEYS ROUNDS LOOKUPS");
    const size_t key_bytes = strtoul(arguments[1], NULL, 10);
    const uint32_t count = (uint32_t)strtoul(arguments[2], NULL, 10);
    const unsigned long rounds = strtoul(arguments[3], NULL, 10), lookups = strtoul(arguments[4], NULL, 10);
    try(key_bytes <= MOST_KEY_BYTES, "key");
    char *keys = malloc(key_bytes * count);
    try(keys && fread(keys, key_bytes, count, stdin) == count, "keys");

    start();
    const uint32_t entries = count + count / 4 + 64;
    const struct rte_hash_parameters parameters = {
        .name = "connections", .entries = entries, .key_len = (uint32_t)key_bytes,
        .socket_id = huge_heap(((size_t)64 << 20) + (size_t)entries * 192),
        .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF};
    struct rte_hash *table = rte_hash_create(&parameters);
    try(table != NULL, "rte_hash_create");
    for (uint32_t number = 0; number < count; number++)
        try(rte_hash_add_key_data(table, keys + key_bytes * number, (void *)(uintptr_t)number) == 0, "rte_hash_add_key_data");

    uint64_t overhead = nanos();
    for (int i = 0; i < 1000; i++) nanos();
    overhead = (nanos() - overhead) / 1001;
    static char prepared[BATCH][MOST_KEY_BYTES];
    static const void *pointers[BATCH];
    static uint32_t numbers[BATCH];
    uint64_t state = 7;
    for (unsigned long turn = 0; turn < 2 * rounds; turn++) {
        const unsigned bulk = turn % 2 ? 1 : BULK;
        uint64_t time = 0;
        unsigned long done = 0;
        for (; done < lookups; done += BATCH) {
            for (int i = 0; i < BATCH; i++) {
                numbers[i] = (uint32_t)((unsigned __int128)next_random(&state) * count >> 64);
                pointers[i] = memcpy(prepared[i], keys + key_bytes * numbers[i], key_bytes);
            }
            const uint64_t began = nanos();
            const unsigned wrong = look_up(table, pointers, numbers, bulk);
            const uint64_t took = nanos() - began;
            time += took > overhead ? took - overhead : 0;
            try(wrong == 0, "a key was not found");
        }
        printf("%u %.3f\n", bulk, (double)time / (double)done);
    }
    return 0;
}
