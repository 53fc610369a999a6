/* Quantization as it is called: finds the kernel and gives it one tile of values after another. */
#include "kernels.h"
#include "quantizers.h"

static const struct quantizers *quantizers_of(int level) {
#if defined(__x86_64__)
    if (level > llmasos_best_level()) return NULL;
    if (level == 1) return &llmasos_sse41_quantizers;
    if (level == 2) return &llmasos_avx2_quantizers;
    if (level == 3) return &llmasos_avx512_quantizers;
#elif defined(__aarch64__)
    if (level == 4) return &llmasos_neon_quantizers;
#endif
    return level == 0 ? &llmasos_plain_quantizers : NULL;
}

struct source { const struct quantizers *quantizers; int type, value_bytes; const uint8_t *bytes; };

static bool can_stay(struct source source) {
    return source.type == F32 && (uintptr_t)source.bytes % sizeof(float) == 0;
}

/* `count` values from `at` on, in `tile` of `size` values unless they can be read as a whole tile where they are. */
static const float *values_at(struct source source, int64_t at, int64_t count, float *tile, int64_t size) {
    const uint8_t *bytes = source.bytes + at * source.value_bytes;
    if (count == size && can_stay(source)) return (const float *)bytes;
    source.quantizers->widen(source.type, bytes, count, tile);
    memset(tile + count, 0, (size_t)(size - count) * sizeof(float));
    return tile;
}

static const float *importance_at(const float *importance, int64_t at, int64_t count, float *tile) {
    if (!importance) return NULL;
    memcpy(tile, importance + at, (size_t)count * sizeof(float));
    memset(tile + count, 0, (size_t)(TILE - count) * sizeof(float));
    return tile;
}

/* Kernels whose lanes are runs want full tiles. The others read in order, and small parts then keep the memory busy. */
static int64_t tile_size(struct format format, struct source source, int64_t count, bool weighted) {
    if (format.block_values == SUPER || weighted) return TILE;
    return can_stay(source) ? count : 256;
}

/* Values that follow each other: a row, or all rows where their weights don't depend on the place in a row. */
static int64_t quantize_run(int type, struct source source, int64_t count, struct weighting weighting,
                            uint8_t *target) {
    const struct format format = format_of(type);
    float values[TILE], importance[TILE];
    int64_t fallbacks = 0, size = tile_size(format, source, count, weighting.importance != NULL);
    for (int64_t at = 0; at < count; at += size) {
        int64_t part = count - at < size ? count - at : size, blocks = part / format.block_values;
        struct weighting here = {importance_at(weighting.importance, at, part, importance), weighting.mean_square};
        const float *from = values_at(source, at, part, values, size);
        fallbacks += source.quantizers->quantize(type, from, here, blocks, target);
        target += blocks * format.block_bytes;
    }
    return fallbacks;
}

/* Of a row, added up in ggml's order. */
static float mean_square(struct source source, int64_t width) {
    float tile[TILE], sum = 0;
    for (int64_t at = 0; at < width; at += TILE) {
        int64_t part = width - at < TILE ? width - at : TILE;
        const float *values = values_at(source, at, part, tile, TILE);
        for (int64_t i = 0; i < part; ++i) sum += values[i] * values[i];
    }
    return sum / (float)width;
}

int64_t llmasos_quantize(int level, int type, int source_type, const void *source, void *target, int64_t rows,
                         int64_t width, const float *importance) {
    const struct quantizers *quantizers = quantizers_of(level);
    const struct format format = format_of(type);
    if (!quantizers || (source_type != F32 && source_type != F16 && source_type != BF16)) return -1;
    if (format.block_values == 0 || rows < 0 || width < 0 || width % format.block_values != 0) return -1;

    struct source from = {quantizers, source_type, source_type == F32 ? 4 : 2, source};
    if (!importance || type == Q8_0)
        return quantize_run(type, from, rows * width, (struct weighting){NULL, 0}, target);
    int64_t fallbacks = 0;
    uint8_t *to = target;
    for (int64_t row = 0; row < rows; ++row) {
        bool by_row = type == Q4_0 || type == Q5_0;
        struct weighting weighting = {importance, by_row ? mean_square(from, width) : 0};
        fallbacks += quantize_run(type, from, width, weighting, to);
        from.bytes += width * from.value_bytes;
        to += width / format.block_values * format.block_bytes;
    }
    return fallbacks;
}
