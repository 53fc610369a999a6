/* Row kernels as they are called: rows of a matrix, by the kernels of a level. */

#include <stddef.h>

#include "kernels.h"
#include "rows.h"

enum { SSE41 = 1, AVX2, AVX512, NEON };

/* What is returned instead of the first row that holds no distribution. */
enum { ALL_ROWS = -1, NO_KERNELS = -2 };

static const RowKernels *kernels_of(int level) {
#if defined(__x86_64__)
    switch (level) {
        case SSE41: return &llmasos_sse41_rows;
        case AVX2: return &llmasos_avx2_rows;
        case AVX512: return &llmasos_avx512_rows;
    }
#elif defined(__aarch64__)
    if (level == NEON) return &llmasos_neon_rows;
#endif
    (void)level;
    return NULL;
}

/* All: `level` is what llmasos_best_level gave, or lower; asking the processor anew takes longer than many a row.
   `rows` and `others` have `count` rows of `width` logits each, `stride` floats from one to the next. Returned is
   the number of the first row that holds no distribution, where the work ends, or one of the above. */

LLMASOS_API int64_t llmasos_rows_log_sum_exp(int level, const float *rows, int64_t count, int64_t width, int64_t stride,
                                             double *log_sums) {
    const RowKernels *kernels = kernels_of(level);
    if (!kernels) return NO_KERNELS;
    for (int64_t row = 0; row < count; row++) {
        if (!kernels->log_sum_exp(rows + row * stride, width, log_sums + row)) return row;
    }
    return ALL_ROWS;
}

LLMASOS_API int64_t llmasos_rows_top(int level, const float *rows, int64_t count, int64_t width, int64_t stride,
                                     int32_t top, float *logits, int32_t *indices, double *log_sums) {
    const RowKernels *kernels = kernels_of(level);
    if (!kernels) return NO_KERNELS;
    for (int64_t row = 0; row < count; row++) {
        if (!kernels->top(rows + row * stride, width, top, logits + row * top, indices + row * top, log_sums + row)) {
            return row;
        }
    }
    return ALL_ROWS;
}

/* A token that may be chosen, as llama.cpp's samplers take it (llama_token_data). */
typedef struct { int32_t token; float logit; float probability; } Candidate;

/* The likeliest `top` tokens of one row of logits, the likeliest first. */
LLMASOS_API int64_t llmasos_row_candidates(int level, const float *row, int64_t width, int32_t top,
                                           Candidate *candidates) {
    const RowKernels *kernels = kernels_of(level);
    float logits[TOP_MOST];
    int32_t tokens[TOP_MOST];
    if (!kernels) return NO_KERNELS;
    if (!kernels->top(row, width, top, logits, tokens, NULL)) return 0;
    for (int32_t rank = 0; rank < top; ++rank) candidates[rank] = (Candidate){tokens[rank], logits[rank], 0.0f};
    return ALL_ROWS;
}

LLMASOS_API int64_t llmasos_rows_entropy(int level, const float *rows, int64_t count, int64_t width, int64_t stride,
                                         double *entropies) {
    const RowKernels *kernels = kernels_of(level);
    if (!kernels) return NO_KERNELS;
    for (int64_t row = 0; row < count; row++) {
        if (!kernels->entropy(rows + row * stride, width, entropies + row)) return row;
    }
    return ALL_ROWS;
}

LLMASOS_API int64_t llmasos_rows_divergence(int level, const float *rows, const float *others, int64_t count,
                                            int64_t width, int64_t stride, int64_t other_stride, double *divergences) {
    const RowKernels *kernels = kernels_of(level);
    if (!kernels) return NO_KERNELS;
    for (int64_t row = 0; row < count; row++) {
        if (!kernels->divergence(rows + row * stride, others + row * other_stride, width, divergences + row)) return row;
    }
    return ALL_ROWS;
}
