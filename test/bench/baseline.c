/*
 * The yardstick for `shootdown replay`: the same TLBs and four-level tables in plain C. Every set
 * is kept in most-recently-used order, so that the common hit is one compare; pages are mapped
 * when they are first walked. It knows one address space and nothing else: no permissions, no
 * global pages, no address-space tags, and it assumes that its input is a valid packed trace.
 *
 *   gcc -O3 -o baseline baseline.c
 *   ./baseline RAW-TRACE PASSES PAGE-SHIFT L1I-ENTRIES WAYS L1D-ENTRIES WAYS STLB-ENTRIES WAYS
 *
 * Prints one JSON object: the counts of one pass, and the seconds of every pass.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EMPTY UINT64_MAX
#define TABLE_ENTRIES 512
#define PRESENT 1u
#define LEAF 0x80u
#define FRAME_SHIFT 12

struct tlb {
    uint64_t *tags; /* sets * ways, the most recently used way of a set first */
    uint64_t *frames;
    uint32_t sets, ways, mask; /* mask: sets - 1 when sets is a power of two, else 0 */
    uint64_t lookups, misses;
};

static uint64_t *tables;
static uint64_t table_count, table_room, next_frame;
static unsigned page_shift;

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "baseline: out of memory\n");
        exit(3);
    }
    return memory;
}

static void tlb_empty(struct tlb *tlb)
{
    for (uint32_t i = 0; i < tlb->sets * tlb->ways; i++)
        tlb->tags[i] = EMPTY;
    tlb->lookups = tlb->misses = 0;
}

static void tlb_make(struct tlb *tlb, uint32_t entries, uint32_t ways)
{
    if (ways == 0 || entries % ways != 0) {
        fprintf(stderr, "baseline: %u entries do not divide into sets of %u\n", entries, ways);
        exit(2);
    }
    tlb->sets = entries / ways;
    tlb->ways = ways;
    tlb->mask = tlb->sets & (tlb->sets - 1) ? 0 : tlb->sets - 1;
    tlb->tags = need(malloc(entries * sizeof *tlb->tags));
    tlb->frames = need(calloc(entries, sizeof *tlb->frames));
    tlb_empty(tlb);
}

static inline uint32_t tlb_base(const struct tlb *tlb, uint64_t page)
{
    if (tlb->mask || tlb->sets == 1)
        return (uint32_t)(page & tlb->mask) * tlb->ways;
    return (uint32_t)(page % tlb->sets) * tlb->ways;
}

/* Moves way `way` to the front of its set and puts `page` there. */
static inline void to_front(struct tlb *tlb, uint32_t base, uint32_t way, uint64_t page, uint64_t frame)
{
    uint64_t *tags = tlb->tags + base, *frames = tlb->frames + base;
    for (; way > 0; way--) {
        tags[way] = tags[way - 1];
        frames[way] = frames[way - 1];
    }
    tags[0] = page;
    frames[0] = frame;
}

static uint64_t new_table(void)
{
    if (table_count == table_room) {
        table_room = table_room ? table_room * 2 : 64;
        tables = need(realloc(tables, table_room * TABLE_ENTRIES * sizeof *tables));
    }
    memset(tables + table_count * TABLE_ENTRIES, 0, TABLE_ENTRIES * sizeof *tables);
    return table_count++;
}

/* Translates by the tables, mapping what is not mapped yet. Table 0 is the root. */
static __attribute__((noinline)) uint64_t walk(uint64_t page)
{
    uint64_t address = page << page_shift, table = 0;
    for (unsigned shift = 39;; shift -= 9) {
        uint64_t slot = table * TABLE_ENTRIES + ((address >> shift) & (TABLE_ENTRIES - 1));
        uint64_t entry = tables[slot];
        if (shift == page_shift) {
            if (!(entry & PRESENT))
                entry = tables[slot] = next_frame++ << FRAME_SHIFT | PRESENT | LEAF;
            return entry >> FRAME_SHIFT;
        }
        if (!(entry & PRESENT)) {
            entry = new_table() << FRAME_SHIFT | PRESENT;
            tables[slot] = entry;
        }
        table = entry >> FRAME_SHIFT;
    }
}

static __attribute__((noinline)) uint64_t fill(struct tlb *l1, struct tlb *stlb, uint32_t base, uint64_t page)
{
    uint32_t second = tlb_base(stlb, page), way = 0;
    uint64_t frame;
    l1->misses++;
    stlb->lookups++;
    while (way < stlb->ways && stlb->tags[second + way] != page)
        way++;
    if (way < stlb->ways) {
        frame = stlb->frames[second + way];
    } else {
        stlb->misses++;
        frame = walk(page);
        way = stlb->ways - 1;
    }
    to_front(stlb, second, way, page, frame);
    to_front(l1, base, l1->ways - 1, page, frame);
    return frame;
}

static inline uint64_t look_up(struct tlb *l1, struct tlb *stlb, uint64_t page)
{
    uint32_t base = tlb_base(l1, page);
    l1->lookups++;
    if (l1->tags[base] == page)
        return l1->frames[base];
    for (uint32_t way = 1; way < l1->ways; way++) {
        if (l1->tags[base + way] == page) {
            uint64_t frame = l1->frames[base + way];
            to_front(l1, base, way, page, frame);
            return frame;
        }
    }
    return fill(l1, stlb, base, page);
}

static uint64_t replay(const uint64_t *records, uint64_t count, struct tlb *l1i, struct tlb *l1d, struct tlb *stlb)
{
    uint64_t sum = 0; /* keeps the frames alive for the optimiser */
    for (uint64_t i = 0; i < count; i++) {
        uint64_t record = records[i], address = record & 0xffffffffffff;
        uint64_t first = address >> page_shift;
        uint64_t last = (address + (record >> 48 & 0x3fff) - 1) >> page_shift;
        struct tlb *l1 = record >> 62 ? l1d : l1i;
        sum += look_up(l1, stlb, first);
        while (first != last)
            sum += look_up(l1, stlb, ++first);
    }
    return sum;
}

int main(int argc, char **argv)
{
    if (argc != 10) {
        fprintf(stderr, "usage: baseline RAW-TRACE PASSES PAGE-SHIFT L1I-ENTRIES WAYS L1D-ENTRIES WAYS "
                        "STLB-ENTRIES WAYS\n");
        return 2;
    }
    FILE *file = fopen(argv[1], "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(argv[1]);
        return 2;
    }
    uint64_t count = (uint64_t)ftell(file) / 8;
    rewind(file);
    uint64_t *records = need(malloc(count * 8 + 1));
    if (fread(records, 8, count, file) != count) {
        perror(argv[1]);
        return 2;
    }
    fclose(file);

    struct tlb l1i, l1d, stlb;
    int passes = atoi(argv[2]);
    uint64_t sum = 0;
    page_shift = (unsigned)atoi(argv[3]);
    tlb_make(&l1i, (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]));
    tlb_make(&l1d, (uint32_t)atoi(argv[6]), (uint32_t)atoi(argv[7]));
    tlb_make(&stlb, (uint32_t)atoi(argv[8]), (uint32_t)atoi(argv[9]));
    new_table();
    printf("{\"seconds\":[");
    for (int pass = 0; pass < passes; pass++) {
        struct timespec from, to;
        tlb_empty(&l1i);
        tlb_empty(&l1d);
        tlb_empty(&stlb);
        clock_gettime(CLOCK_MONOTONIC, &from);
        sum += replay(records, count, &l1i, &l1d, &stlb);
        clock_gettime(CLOCK_MONOTONIC, &to);
        double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        printf("%s%.6f", pass ? "," : "", seconds);
    }
    printf("],\"records\":%llu,\"l1i\":{\"lookups\":%llu,\"misses\":%llu},\"l1d\":{\"lookups\":%llu,\"misses\":%llu},"
           "\"stlb\":{\"lookups\":%llu,\"misses\":%llu},\"checksum\":%llu}\n",
           (unsigned long long)count, (unsigned long long)l1i.lookups, (unsigned long long)l1i.misses,
           (unsigned long long)l1d.lookups, (unsigned long long)l1d.misses, (unsigned long long)stlb.lookups,
           (unsigned long long)stlb.misses, (unsigned long long)sum);
    return 0;
}
