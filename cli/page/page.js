"use strict";
/* Draws a page from the data inside it.  No library, no network; works from a file. */

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("page");

/* ---- Small things ---- */

function element(name, attributes, ...children) {
	const svg = ["svg", "g", "rect", "path", "line", "text", "title", "clipPath", "circle"].includes(name);
	const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
			 : document.createElement(name);
	for (const [key, value] of Object.entries(attributes || {}))
		made.setAttribute(key, value);
	made.append(...children);
	return made;
}

function size(bytes) {
	const names = ["bytes", "KiB", "MiB", "GiB", "TiB"];
	let n = 0;
	for (; bytes >= 1023.5 && n < names.length - 1; n++)
		bytes /= 1024;
	return (n ? bytes.toFixed(bytes < 10 ? 2 : bytes < 100 ? 1 : 0) : bytes) + " " + names[n];
}

/* Sizes of requests are round: "512 KiB", not "512.0 KiB". */
function round(bytes) {
	return size(bytes).replace(/\.0+ /, " ");
}

function rate(bytesPerSecond) {
	return bytesPerSecond >= 1e9 ? (bytesPerSecond / 1e9).toFixed(2) + " GB/s"
				     : (bytesPerSecond / 1e6).toFixed(1) + " MB/s";
}

function seconds(value) {
	return value >= 1 ? value.toFixed(2) + " s" : (value * 1e3).toFixed(value < 0.01 ? 2 : 1) + " ms";
}

function count(value) {
	return value.toLocaleString("en").replaceAll(",", "\u202f");
}

function cards(...pairs) {
	const box = element("div", {class: "cards"});
	for (const [value, label] of pairs)
		box.append(element("div", {class: "card"}, element("b", {}, value), element("span", {}, label)));
	return box;
}

function table(rows) {
	const box = element("table");
	for (const [name, value, hint] of rows) {
		box.append(element("tr", hint ? {title: hint} : {}, element("th", {}, name),
				   element("td", {class: "number"}, value)));
	}
	return box;
}

/* A step of 1, 2 or 5 times a power of ten that gives about `parts` parts. */
function step(span, parts) {
	const power = Math.pow(10, Math.floor(Math.log10(span / parts || 1)));
	return power * [1, 2, 5, 10].find(n => span / (n * power) <= parts);
}

/* ---- The timeline ---- */

const KINDS = {
	read: {color: "--read", text: "read from the storage"},
	cached: {color: "--cached", text: "copied from the page cache"},
	write: {color: "--write", text: "written"},
	copy: {color: "--copy", text: "copied out of staging"},
	device: {color: "--device", text: "copied to or from a GPU"},
	populate: {color: "--populate", text: "memory made"},
	wait: {color: "--wait", text: "lane waits"},
};

/* Bars that overlap go on tracks below each other: the first that is free. */
function pack(events) {
	const ends = [];
	for (const event of events) {
		let track = ends.findIndex(end => end <= event.ts);
		if (track < 0)
			track = ends.length;
		ends[track] = event.ts + event.dur;
		event.track = track;
	}
	return ends.length;
}

/* Rows: each lane's requests, then what the processor did beside them. */
function makeRows(events) {
	const byRow = new Map();
	for (const event of events) {
		const transfer = event.name === "read" || event.name === "cached" || event.name === "write";
		const key = transfer ? "lane " + event.tid : event.name;
		if (!byRow.has(key))
			byRow.set(key, {key, transfer, events: []});
		byRow.get(key).events.push(event);
	}
	const rows = [...byRow.values()];
	const order = ["populate", "copy", "device", "wait"];
	rows.sort((a, b) => (b.transfer - a.transfer) ||
		  (a.transfer ? a.key.localeCompare(b.key, "en", {numeric: true})
			      : order.indexOf(a.key) - order.indexOf(b.key)));
	for (const row of rows) {
		row.tracks = pack(row.events);
		row.label = row.transfer ? row.key : {populate: "memory", copy: "copies", device: "GPU", wait: "waits"}[row.key] || row.key;
		row.bar = row.transfer ? Math.max(2, Math.min(9, 170 / row.tracks))
				       : Math.max(3, Math.min(12, 60 / row.tracks));
	}
	return rows;
}

/* Bytes a second over time: what each request brought, spread over the time since the last one ended. */
function makeCurve(events, end, bins) {
	const bytes = new Float64Array(bins), width = end / bins;
	for (const event of events) {
		if (event.name === "read" || event.name === "cached" || event.name === "write")
			bytes[Math.min(bins - 1, Math.floor((event.ts + event.dur) / width))] += event.args.size_bytes;
	}
	/* A mean over neighbours: requests end in bursts. */
	const curve = new Float64Array(bins), reach = Math.max(1, Math.round(bins / 80));
	for (let n = 0; n < bins; n++) {
		let sum = 0, parts = 0;
		for (let i = Math.max(0, n - reach); i <= Math.min(bins - 1, n + reach); i++, parts++)
			sum += bytes[i];
		curve[n] = sum / parts / width * 1e6;
	}
	return curve;
}

function hint(event) {
	return `${event.name}, ${size(event.args.size_bytes)} at offset ${count(event.args.offset_bytes)}\n` +
	       `from ${(event.ts / 1e3).toFixed(3)} ms, for ${(event.dur / 1e3).toFixed(3)} ms`;
}

let plots = 0; /* names of the areas that bars are cut to */
const LEFT = 74, RIGHT = 16, WIDTH = 1180, CURVE = 110;

class Timeline {
	constructor(events) {
		const first = Math.min(...events.slice(0, 1000).map(event => event.ts), events[0].ts);
		for (const event of events)
			event.ts -= first;
		this.events = events;
		this.end = events.reduce((end, event) => Math.max(end, event.ts + event.dur), 1);
		this.rows = makeRows(events);
		this.curve = makeCurve(events, this.end, 400);
		this.from = 0;
		this.to = this.end;
		this.plot = "plot" + plots++;
		this.svg = element("svg", {role: "img", "aria-label": "timeline of the load"});
		this.listen();
		this.draw();
	}

	x(us) {
		return LEFT + (us - this.from) / (this.to - this.from) * (WIDTH - LEFT - RIGHT);
	}

	us(x) {
		return this.from + (x - LEFT) / (WIDTH - LEFT - RIGHT) * (this.to - this.from);
	}

	listen() {
		const at = event => {
			const box = this.svg.getBoundingClientRect();
			return (event.clientX - box.left) / box.width * WIDTH;
		};
		this.svg.addEventListener("wheel", event => {
			if (!event.ctrlKey && !event.shiftKey)
				return;
			event.preventDefault();
			const middle = this.us(at(event)), factor = event.deltaY + event.deltaX > 0 ? 1.3 : 1 / 1.3;
			this.show(middle - (middle - this.from) * factor, middle + (this.to - middle) * factor);
		}, {passive: false});
		let start = null;
		this.svg.addEventListener("pointerdown", event => { start = at(event); });
		this.svg.addEventListener("pointerup", event => {
			const end = at(event);
			if (start !== null && Math.abs(end - start) > 6)
				this.show(this.us(Math.min(start, end)), this.us(Math.max(start, end)));
			start = null;
		});
		this.svg.addEventListener("dblclick", () => this.show(0, this.end));
	}

	show(from, to) {
		from = Math.max(0, from);
		to = Math.min(this.end, to);
		if (to - from < 10)
			return;
		this.from = from;
		this.to = to;
		this.draw();
	}

	draw() {
		let y = 8;
		const parts = [element("clipPath", {id: this.plot},
			element("rect", {x: LEFT, y: 0, width: WIDTH - LEFT - RIGHT, height: 4000}))];
		const body = element("g", {"clip-path": `url(#${this.plot})`});
		y = this.drawCurve(parts, body, y);
		for (const row of this.rows)
			y = this.drawRow(parts, body, row, y);
		this.drawAxis(parts, y);
		this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${y + 26}`);
		this.svg.replaceChildren(...parts, body);
	}

	drawCurve(parts, body, y) {
		const top = Math.max(...this.curve) || 1, unit = step(top / 1e9, 3) * 1e9;
		const height = value => y + CURVE - value / top * (CURVE - 12);
		for (let value = 0; value <= top; value += unit) {
			parts.push(element("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: height(value), y2: height(value)}));
			parts.push(element("text", {x: LEFT - 8, y: height(value) + 4, "text-anchor": "end"},
				value ? +(value / 1e9).toPrecision(3) + " GB/s" : "0"));
		}
		const width = this.end / this.curve.length;
		let line = "";
		this.curve.forEach((value, n) => {
			line += `${n ? "L" : "M"}${this.x((n + 0.5) * width).toFixed(1)},${height(value).toFixed(1)}`;
		});
		body.append(element("path", {d: `${line}L${this.x(this.end)},${y + CURVE}L${this.x(0)},${y + CURVE}Z`, fill: "var(--curve)"}),
			    element("path", {d: line, fill: "none", stroke: "var(--read)", "stroke-width": 1.5}));
		return y + CURVE + 14;
	}

	drawRow(parts, body, row, y) {
		const height = row.tracks * row.bar;
		parts.push(element("text", {class: "row", x: LEFT - 8, y: y + Math.min(height / 2 + 4, 40), "text-anchor": "end"}, row.label));
		parts.push(element("line", {class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y + height + 4, y2: y + height + 4}));
		const last = new Map(); /* by track: the pixel where the last bar ended */
		for (const event of row.events) {
			const x = this.x(event.ts), end = this.x(event.ts + event.dur);
			if (end < LEFT || x > WIDTH - RIGHT || end < (last.get(event.track) || 0) + 0.4)
				continue;
			last.set(event.track, end);
			body.append(element("rect", {
				class: "bar", x: x.toFixed(2), y: (y + event.track * row.bar).toFixed(2),
				width: Math.max(0.7, end - x - 0.4).toFixed(2), height: Math.max(1, row.bar - 1).toFixed(2),
				rx: Math.min(2, row.bar / 3).toFixed(1), fill: `var(${(KINDS[event.name] || KINDS.read).color})`,
			}, element("title", {}, hint(event))));
		}
		return y + height + 10;
	}

	drawAxis(parts, y) {
		const span = (this.to - this.from) / 1e3, unit = step(span, 10);
		for (let ms = Math.ceil(this.from / 1e3 / unit) * unit; ms <= this.to / 1e3 + unit / 1e6; ms += unit) {
			const x = this.x(ms * 1e3);
			parts.push(element("line", {class: "grid", x1: x, x2: x, y1: 8, y2: y}));
			parts.push(element("text", {x, y: y + 16, "text-anchor": "middle"}, +ms.toPrecision(6) + " ms"));
		}
	}
}

function legend(events) {
	const box = element("div", {class: "legend"});
	for (const [name, kind] of Object.entries(KINDS)) {
		if (events.some(event => event.name === name))
			box.append(element("span", {}, element("i", {style: `background: var(${kind.color})`}), kind.text));
	}
	return box;
}

/* How many requests were under way at once, on average, while there were any. */
function overlap(events) {
	const transfers = events.filter(event => event.name === "read" || event.name === "write");
	const edges = transfers.flatMap(event => [[event.ts, 1], [event.ts + event.dur, -1]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
	let busy = 0, sum = 0, now = 0, at = 0;
	for (const [time, change] of edges) {
		if (now > 0) {
			busy += time - at;
			sum += now * (time - at);
		}
		now += change;
		at = time;
	}
	return busy ? sum / busy : 0;
}

/* The events of one load of several: those between its start and its end. */
function eventsOf(load, events) {
	const end = events.reduce((last, event) => Math.max(last, event.ts + event.dur), 0) - load.before_end_seconds * 1e6;
	const from = end - load.wall_seconds * 1.02e6;
	return events.filter(event => event.ts >= from && event.ts <= end).map(event => ({...event}));
}

function timeline(load, all) {
	const events = eventsOf(load, all);
	if (!events.length)
		return [element("p", {class: "soft"}, "The trace is empty.")];
	const line = new Timeline(events), reset = element("button", {}, "all of it");
	reset.addEventListener("click", () => line.show(0, line.end));
	return [
		element("p", {class: "soft"}, "Each bar is one request, from the moment it was sent to the moment its bytes were there. " +
			`On average ${overlap(events).toFixed(1)} were under way at once. Drag across a part to enlarge it; `, reset),
		element("div", {class: "chart"}, legend(events), line.svg),
	];
}

/* ---- Pages ---- */

function loadCards(load) {
	return cards([size(load.bytes), "loaded"], [seconds(load.wall_seconds), "from start to last tensor"],
		     [rate(load.bytes_per_second), "into memory"], [load.cpu_seconds_per_gib.toFixed(3) + " s", "of processor time a GiB"]);
}

function loadFigures(counters) {
	return [table([
		["requests", count(counters.requests)], ["system calls", count(counters.system_calls)],
		["sent again", count(counters.retries)],
		["waited for the storage", seconds(counters.stall_seconds_source), "sum over lanes"],
		["waited for memory", seconds(counters.stall_seconds_memory), "sum over lanes"],
	]), table([
		["delivered", size(counters.bytes_delivered)],
		["written in place by the device", size(counters.bytes_direct)],
		["copied by the processor", size(counters.bytes_copied)],
		["from the page cache", size(counters.bytes_cached)],
		["read beyond what was asked", size(counters.bytes_over)],
	])];
}

function loadSection(load, number, events) {
	const title = data.loads.length === 1 ? "Timeline" :
		`Load ${number + 1}: into ${number ? "the memory that load " + number + " gave back" : "fresh memory"}`;
	return [
		element("h2", {}, title), loadCards(load), ...timeline(load, events),
		element("div", {class: "columns figures"}, ...loadFigures(load.counters)),
	];
}

function loadPage() {
	const source = data.source, trace = document.getElementById("trace");
	const events = trace ? JSON.parse(trace.textContent).traceEvents.filter(event => event.ph === "X") : [];
	events.sort((a, b) => a.ts - b.ts);
	main.replaceChildren(
		element("h1", {}, data.loads.length === 1 ? "A load, as it happened" : "Loads, as they happened"),
		element("p", {class: "soft"}, element("code", {}, data.uri), ` · ${count(data.tensor_count)} tensors in ${count(data.shard_count)} file` +
			`${data.shard_count === 1 ? "" : "s"} · weir ${data.version}`),
		element("p", {class: "soft"}, `${source.kind}, ${source.direct ? "past" : "through"} the page cache; ${source.lanes} lanes, ` +
			`${source.depth} requests of ${round(source.request_bytes)} in flight on each` +
			(source.cached_share === undefined ? "" : `; ${(source.cached_share * 100).toFixed(1)} % of the files was cached before`)),
		...(data.note ? [element("p", {class: "note"}, data.note)] : []),
		...data.loads.flatMap((load, number) => loadSection(load, number, events)));
}

/* A bar a setting, with its spread. */
function benchChart(title, cells, pick, text) {
	const top = Math.max(...cells.map(cell => pick(cell).max)) || 1, row = 24, left = 250, width = 1180;
	const svg = element("svg", {viewBox: `0 0 ${width} ${cells.length * row + 30}`, role: "img", "aria-label": title});
	const x = value => left + value / top * (width - left - 110);
	const unit = step(top, 6);
	for (let value = 0; value <= top; value += unit) {
		svg.append(element("line", {class: "grid", x1: x(value), x2: x(value), y1: 4, y2: cells.length * row + 6}),
			   element("text", {x: x(value), y: cells.length * row + 22, "text-anchor": "middle"}, text(value)));
	}
	cells.forEach((cell, n) => {
		const value = pick(cell), y = n * row + 8, middle = y + row / 2 - 4;
		const name = `${cell.lanes ? cell.lanes + " × " : ""}${cell.depth} × ${round(cell.request_bytes)}, direct ${cell.direct}`;
		svg.append(element("text", {class: "row", x: left - 10, y: middle + 4, "text-anchor": "end"}, name),
			   element("rect", {class: "bar", x: left, y, width: Math.max(1, x(value.median) - left), height: row - 8, rx: 3, fill: "var(--read)"},
				   element("title", {}, `${text(value.median)} (${text(value.min)} to ${text(value.max)})\n${cell.command}`)),
			   element("line", {x1: x(value.min), x2: x(value.max), y1: middle, y2: middle, stroke: "var(--ink)", "stroke-width": 1.5}),
			   element("text", {x: x(value.max) + 8, y: middle + 4}, text(value.median)));
	});
	return element("div", {class: "chart"}, svg);
}

function benchTable(cells) {
	const box = element("table", {}, element("tr", {}, ...["setting", "median", "spread", "s/GiB", "the command that repeats it"].map(text => element("th", {}, text))));
	for (const cell of cells) {
		const speed = cell.bytes_per_second;
		box.append(element("tr", {},
			element("td", {}, `${cell.lanes || "–"} × ${cell.depth} × ${round(cell.request_bytes)}`),
			element("td", {class: "number"}, rate(speed.median)),
			element("td", {class: "number"}, `${rate(speed.min)} to ${rate(speed.max)}`),
			element("td", {class: "number"}, cell.cpu_seconds_per_gib.median.toFixed(4)),
			element("td", {}, element("code", {}, cell.command))));
	}
	return box;
}

function benchPage() {
	const best = data.cells.reduce((a, b) => b.bytes_per_second.median > a.bytes_per_second.median ? b : a);
	main.replaceChildren(
		element("h1", {}, "Loads over a grid of settings"),
		element("p", {class: "soft"}, element("code", {}, data.uri.join(" ")), ` · ${size(data.bytes)} · ${data.cold ? "cold" : "warm"}, ` +
			`${data.repeat} loads a setting, memory kept`),
		cards([rate(best.bytes_per_second.median), "best median"], [best.cpu_seconds_per_gib.median.toFixed(4) + " s", "processor time a GiB there"],
		      [`${best.depth} × ${round(best.request_bytes)}`, "depth and request there"],
		      [data.first_again_ratio.toFixed(3), "first setting at the end, against its start"]),
		element("p", {class: "soft"}, "Bars are medians, lines reach from the smallest to the largest. Differences smaller than the last figure's distance from 1 mean nothing."),
		element("h2", {}, "Throughput"), benchChart("throughput", data.cells, cell => cell.bytes_per_second, rate),
		element("h2", {}, "Processor time a GiB"), benchChart("processor time", data.cells, cell => cell.cpu_seconds_per_gib, value => value.toFixed(3) + " s"),
		element("h2", {}, "Figures"), benchTable(data.cells));
}

(data.page === "bench" ? benchPage : loadPage)();
