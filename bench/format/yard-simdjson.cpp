/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of row E10: a safetensors header by Debian's simdjson, on demand, into the same table
 * with the same checks.  It shares no code with weir.
 *
 *	yard-simdjson FILE      on each line "N" of stdin parses the header of FILE N times and prints
 *	                        the median in nanoseconds, and the number of tensors
 *
 * The table: name, type, place, size, shape; a seeded table of names (XXH3, open addressing).  The
 * checks: UTF-8 (simdjson's), members once each and no others, types, 64-bit integers, sizes without
 * overflow, each tensor begins where the last ended, the last one ends with the file, no name twice.
 * The parser and its buffers are kept between runs, and the table has room from the start: both are
 * advantages that the other side does not have.
 */
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <malloc.h>

#include <simdjson.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace simdjson;

namespace
{

struct tensor {
	std::string_view name;
	uint64_t begin, end;
	uint32_t dims_at, rank, hash;
	int type;
};

struct table {
	std::vector<tensor> tensors;
	std::vector<uint64_t> dims;
	std::vector<std::pair<std::string_view, std::string_view>> metadata;
	std::vector<uint32_t> slots;
};

struct type_info {
	std::string_view name;
	unsigned bits;
};

const type_info types[] = {
	{"BF16", 16},   {"F32", 32},    {"F16", 16},        {"BOOL", 8},        {"F4", 4},
	{"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8},
	{"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
	{"U16", 16},    {"I32", 32},    {"U32", 32},        {"C64", 64},        {"F64", 64},
	{"I64", 64},    {"U64", 64},
};

[[noreturn]] void refuse(const char *why)
{
	throw std::runtime_error(why);
}

int find_type(std::string_view name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].name == name)
			return (int)i;
	refuse("dtype");
}

void take_entry(ondemand::object entry, table &out, tensor &tensor)
{
	unsigned seen = 0;

	for (auto field : entry) {
		std::string_view key = field.unescaped_key();

		if (key == "dtype" && !(seen & 1)) {
			seen |= 1;
			tensor.type = find_type(field.value().get_string());
		} else if (key == "shape" && !(seen & 2)) {
			seen |= 2;
			tensor.dims_at = (uint32_t)out.dims.size();
			for (auto dim : field.value().get_array())
				out.dims.push_back(dim.get_uint64());
			tensor.rank = (uint32_t)(out.dims.size() - tensor.dims_at);
			if (tensor.rank > 64)
				refuse("rank");
		} else if (key == "data_offsets" && !(seen & 4)) {
			uint64_t *to[] = {&tensor.begin, &tensor.end};
			size_t n = 0;

			seen |= 4;
			for (auto offset : field.value().get_array()) {
				if (n == 2)
					refuse("offsets");
				*to[n++] = offset.get_uint64();
			}
			if (n != 2)
				refuse("offsets");
		} else {
			refuse("member");
		}
	}
	if (seen != 7)
		refuse("missing");
}

uint64_t bytes_of(const table &table, const tensor &tensor)
{
	uint64_t count = 1, bits;

	for (uint32_t i = 0; i < tensor.rank; i++)
		if (__builtin_mul_overflow(count, table.dims[tensor.dims_at + i], &count))
			refuse("overflow");
	if (__builtin_mul_overflow(count, (uint64_t)types[tensor.type].bits, &bits) || bits % 8)
		refuse("size");
	return bits / 8;
}

void link_names(table &table, uint64_t seed)
{
	size_t slots = 8;

	while (slots * 3 / 4 < table.tensors.size())
		slots *= 2;
	table.slots.assign(slots, 0);
	for (uint32_t i = 0; i < table.tensors.size(); i++) {
		tensor &tensor = table.tensors[i];
		size_t at;

		tensor.hash = (uint32_t)XXH3_64bits_withSeed(tensor.name.data(), tensor.name.size(),
							     seed);
		for (at = tensor.hash & (slots - 1); table.slots[at]; at = (at + 1) & (slots - 1)) {
			const struct tensor &other = table.tensors[table.slots[at] - 1];

			if (other.hash == tensor.hash && other.name == tensor.name)
				refuse("name twice");
		}
		table.slots[at] = i + 1;
	}
}

void parse(ondemand::parser &parser, padded_string_view text, uint64_t data_bytes, table &out)
{
	ondemand::document document = parser.iterate(text);
	uint64_t cursor = 0;
	bool metadata = false;

	for (auto field : document.get_object()) {
		tensor tensor = {};

		tensor.name = field.unescaped_key();
		if (tensor.name == "__metadata__") {
			if (metadata)
				refuse("metadata twice");
			metadata = true;
			for (auto pair : field.value().get_object()) {
				std::string_view key = pair.unescaped_key();

				out.metadata.emplace_back(key, pair.value().get_string());
			}
			continue;
		}
		if (tensor.name.size() > 65535 || memchr(tensor.name.data(), 0, tensor.name.size()))
			refuse("name");
		take_entry(field.value().get_object(), out, tensor);
		if (tensor.begin != cursor || tensor.end < tensor.begin ||
		    tensor.end - tensor.begin != bytes_of(out, tensor))
			refuse("offsets");
		cursor = tensor.end;
		out.tensors.push_back(tensor);
	}
	const char *more;

	if (document.current_location().get(more) == SUCCESS || cursor != data_bytes)
		refuse("coverage");
	link_names(out, 0x5EED);
}

std::vector<char> read_file(const char *path)
{
	std::vector<char> bytes;
	FILE *file = fopen(path, "rb");
	uint64_t len;

	if (!file || fread(&len, 1, 8, file) != 8)
		refuse("cannot read the file");
	bytes.resize(len + SIMDJSON_PADDING);
	if (fread(bytes.data(), 1, len, file) != len || fseek(file, 0, SEEK_END) != 0)
		refuse("short read");
	bytes.resize(len + SIMDJSON_PADDING + 8);
	len = (uint64_t)ftell(file) - 8 - len;
	memcpy(bytes.data() + bytes.size() - 8, &len, 8); /* the size of the data, behind it all */
	fclose(file);
	return bytes;
}

int serve(const char *path)
{
	std::vector<char> bytes = read_file(path);
	size_t len = bytes.size() - SIMDJSON_PADDING - 8;
	ondemand::parser parser;
	uint64_t data_bytes;
	char line[64];

	/* What is freed stays with the process, so that no run pays for fresh pages; weir does the same. */
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	memcpy(&data_bytes, bytes.data() + bytes.size() - 8, 8);
	while (fgets(line, sizeof(line), stdin)) {
		std::vector<int64_t> times(strtoull(line, nullptr, 10));
		size_t tensors = 0;

		for (int64_t &time : times) {
			auto start = std::chrono::steady_clock::now();
			{
				table out;

				out.tensors.reserve(len / 100);
				out.dims.reserve(len / 50);
				parse(parser,
				      padded_string_view(bytes.data(), len, len + SIMDJSON_PADDING),
				      data_bytes, out);
				tensors = out.tensors.size();
			}
			time = std::chrono::nanoseconds(std::chrono::steady_clock::now() - start)
				       .count();
		}
		std::sort(times.begin(), times.end());
		printf("%lld %zu\n", (long long)times.at(times.size() / 2), tensors);
		fflush(stdout);
	}
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: yard-simdjson FILE\n");
		return 2;
	}
	try {
		return serve(argv[1]);
	} catch (const std::exception &error) {
		fprintf(stderr, "yard-simdjson: %s\n", error.what());
		return 1;
	}
}
