# cmake -DSOURCE=FOLDER -DOUTPUT=FILE.c -P kernels_hash.cmake: the hash of the kernels' sources as a C
# file. Names are relative and in order, so the hash depends on the sources and on nothing else.
file(GLOB_RECURSE files RELATIVE ${SOURCE}/kernels ${SOURCE}/kernels/*.c ${SOURCE}/kernels/*.h
     ${SOURCE}/kernels/*.cu ${SOURCE}/kernels/*.cuh ${SOURCE}/kernels/*.def)
list(SORT files COMPARE STRING CASE SENSITIVE)
set(all "")
foreach(file ${files})
  file(SHA256 ${SOURCE}/kernels/${file} hash)
  string(APPEND all "${hash} ${file}\n")
endforeach()
string(SHA256 hash "${all}")
set(text "extern const char at_kernels_hash[];\nconst char at_kernels_hash[] = \"${hash}\";\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT "${before}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
