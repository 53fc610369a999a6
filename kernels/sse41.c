/* The kernels for SSE4.1. No fused multiply-adds: they would round once where ggml rounds twice. */
#if defined(__x86_64__)

#include <immintrin.h>

#define VECTOR_SSE41
#define NAME(kernels) llmasos_sse41_##kernels

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("sse4.1"))), apply_to = function)
#else
#pragma GCC target("sse4.1")
#endif

#include "vector.h"

#include "quantize_body.h"
#include "rows_body.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#endif
