# cmake -DINPUT=FILE.bin -DOUTPUT=FILE.c -P clip_merges.cmake: the merges as a C array of 16-bit numbers,
# which the file has with the low byte first.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(..)(..)" "0x\\2\\1," numbers "${hex}")
file(WRITE ${OUTPUT} "#include \"models/clip_merges.h\"\n\nconst uint16_t at_clip_merges[2 * AT_CLIP_MERGES] = {\n${numbers}\n};\n")
