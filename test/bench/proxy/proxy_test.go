// SPDX-License-Identifier: Apache-2.0

// Package proxy measures the request proxy beside a reverse proxy of the standard library and nginx, all of them processes of
// their own in front of the same upstream. Nothing here is a test: figures depend on the machine and are written to
// docs/performance.md.
package proxy

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkProxy puts the same loads on each of the proxies in turn, several times, and reports the medians.
func BenchmarkProxy(b *testing.B) {
	w := newWorld(b)
	const rounds, each = 5, 3 * time.Second
	for _, size := range []struct {
		name, path string
		bytes      int64
	}{{"small", "/small", smallBody}, {"10MiB", "/large", largeBody}} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", size.name, callers), func(b *testing.B) {
				of := map[string][]measured{}
				for range b.N {
					for range rounds {
						for _, at := range w.targets {
							m, err := load{callers: callers, duration: each, path: size.path, size: size.bytes}.run(b.Context(), at)
							if err != nil {
								b.Fatal(err)
							}
							of[at.name] = append(of[at.name], m)
						}
					}
				}
				report(b, w.targets, of)
			})
		}
	}
}

// report gives the medians of each target, and what the request proxy reaches and adds beside the library's.
func report(b *testing.B, targets []target, of map[string][]measured) {
	b.Helper()
	medians := map[string]measured{}
	for _, at := range targets {
		all := of[at.name]
		m := measured{
			perSecond: median(all, func(m measured) float64 { return m.perSecond }),
			p50:       median(all, func(m measured) time.Duration { return m.p50 }),
			p99:       median(all, func(m measured) time.Duration { return m.p99 }),
		}
		medians[at.name] = m
		b.Logf("%-10s %9.0f requests/s  p50 %8s  p99 %8s", at.name, m.perSecond, m.p50.Round(time.Microsecond), m.p99.Round(time.Microsecond))
		b.ReportMetric(m.perSecond, at.name+"/s")
	}
	const milli = float64(time.Millisecond)
	b.ReportMetric(medians[nameAPI].perSecond/medians[nameReverse].perSecond, "ratio")
	b.ReportMetric(float64(medians[nameAPI].p50-medians[nameReverse].p50)/milli, "added-p50-ms")
	b.ReportMetric(float64(medians[nameAPI].p99-medians[nameReverse].p99)/milli, "added-p99-ms")
	b.ReportMetric(0, "ns/op")
}

func median[T cmp.Ordered](all []measured, of func(measured) T) T {
	values := make([]T, 0, len(all))
	for _, m := range all {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
