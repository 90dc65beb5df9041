// Package podlog keeps what containers write and serves it as the API server asks for it (`kubectl logs`).
package podlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// A container that writes without end keeps its newest lines.
const (
	maxLines    = 100_000
	maxLineSize = 64 << 10
)

// Log holds the lines of a container. Its zero value is empty and ready.
type Log struct {
	mu      sync.Mutex
	lines   []line
	dropped int
	partial []byte
	closed  bool
	changed chan struct{}
}

type line struct {
	at   time.Time
	text string
}

// Write takes output in pieces of any size. It never fails.
func (l *Log) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, data...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			if len(l.partial) < maxLineSize {
				break
			}
			l.add(string(l.partial))
			l.partial = nil
			break
		}
		l.add(string(l.partial[:end]))
		l.partial = l.partial[end+1:]
	}
	l.wake()
	return len(data), nil
}

// Close says that no more comes.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.add(string(l.partial))
		l.partial = nil
	}
	l.closed = true
	l.wake()
}

func (l *Log) add(text string) {
	l.lines = append(l.lines, line{time.Now(), text})
	if len(l.lines) > maxLines {
		l.lines = append([]line(nil), l.lines[maxLines/2:]...)
		l.dropped += maxLines / 2
	}
}

func (l *Log) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// after returns the lines from the n-th ever written on, the number of the one after them, and what is closed when
// there are more: nothing if there will be none.
func (l *Log) after(n int) (lines []line, next int, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	if !l.closed {
		more = l.changed
	}
	start := min(max(0, n-l.dropped), len(l.lines))
	return l.lines[start:], l.dropped + len(l.lines), more
}

// Options are those of `kubectl logs`.
type Options struct {
	Since      time.Time
	Tail       int // negative: all
	Limit      int // bytes; negative: no limit
	Timestamps bool
	Follow     bool
	Previous   bool
}

// ParseOptions reads a query of the kubelet's containerLogs.
func ParseOptions(query url.Values, now time.Time) (Options, error) {
	options := Options{Tail: -1, Limit: -1}
	var err error
	number := func(name string, into *int) {
		if text := query.Get(name); text != "" && err == nil {
			*into, err = strconv.Atoi(text)
		}
	}
	flag := func(name string, into *bool) {
		if text := query.Get(name); text != "" && err == nil {
			*into, err = strconv.ParseBool(text)
		}
	}
	number("tailLines", &options.Tail)
	number("limitBytes", &options.Limit)
	flag("timestamps", &options.Timestamps)
	flag("follow", &options.Follow)
	flag("previous", &options.Previous)
	if text := query.Get("sinceTime"); text != "" && err == nil {
		options.Since, err = time.Parse(time.RFC3339, text)
	}
	if query.Get("sinceSeconds") != "" {
		seconds := 0
		number("sinceSeconds", &seconds)
		options.Since = now.Add(-time.Duration(seconds) * time.Second)
	}
	return options, err
}

// Copy writes the lines that the options ask for; following, until the log is closed or the context ends.
func (l *Log) Copy(ctx context.Context, to io.Writer, options Options) error {
	lines, next, more := l.after(0)
	if options.Tail >= 0 && options.Tail < len(lines) {
		lines = lines[len(lines)-options.Tail:]
	}
	left := options.Limit
	for {
		for _, line := range lines {
			if line.at.Before(options.Since) {
				continue
			}
			text := line.text + "\n"
			if options.Timestamps {
				text = line.at.UTC().Format(time.RFC3339Nano) + " " + text
			}
			if options.Limit >= 0 {
				text = text[:min(left, len(text))]
				left -= len(text)
			}
			if _, err := io.WriteString(to, text); err != nil {
				return err
			}
			if options.Limit >= 0 && left == 0 {
				return nil
			}
		}
		if flusher, ok := to.(http.Flusher); ok {
			flusher.Flush()
		}
		if !options.Follow || more == nil {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
		lines, next, more = l.after(next)
	}
}

// Handler serves `GET /containerLogs/{namespace}/{pod}/{container}`. find returns nothing for unknown ones.
func Handler(find func(namespace, pod, container string, previous bool) *Log) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		options, err := ParseOptions(r.URL.Query(), time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		namespace, pod, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
		log := find(namespace, pod, container, options.Previous)
		if log == nil {
			http.Error(w, fmt.Sprintf("no log of container %q of pod %s/%s", container, namespace, pod), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_ = log.Copy(r.Context(), w, options)
	}
}
