/* Quantizes rows of standard input to standard output, with the kernels that it is linked with.
 *
 * Arguments: level, type, source type, rows, width, and 1 if an importance of `width` floats follows the rows. What
 * comes out is how many blocks were left to plain C, as eight bytes, and the blocks. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

int main(int count, char **arguments) {
    if (count != 7) return 2;
    int level = atoi(arguments[1]), type = atoi(arguments[2]), source_type = atoi(arguments[3]);
    size_t rows = (size_t)atol(arguments[4]), width = (size_t)atol(arguments[5]), weighted = arguments[6][0] == '1';
    size_t source_bytes = rows * width * (source_type == 0 ? 4 : 2);
    size_t target_bytes = rows * width / 256 * (type == 14 ? 210 : type == 13 ? 176 : 144);
    if (type < 10) target_bytes = rows * width / 32 * (type == 8 ? 34 : type == 6 ? 22 : 18);
    void *source = malloc(source_bytes), *target = malloc(target_bytes);
    float *importance = malloc(width * sizeof(float));
    if (fread(source, 1, source_bytes, stdin) != source_bytes) return 1;
    if (weighted && fread(importance, sizeof(float), width, stdin) != width) return 1;
    int64_t left = llmasos_quantize(level, type, source_type, source, target, (int64_t)rows, (int64_t)width,
                                    weighted ? importance : NULL);
    fwrite(&left, sizeof left, 1, stdout);
    fwrite(target, 1, target_bytes, stdout);
    return 0;
}
