package silicon

// Sweep holds one program measured on several numbers of workers, with packets of 60 bytes
// back to back on both ports.
type Sweep struct {
	Name     string
	Firmware string  // profile
	Segments string  // of the words in driver/testdata/calibration; the measured words are not published
	Points   []Point // by workers
}

// Point holds a measured throughput.
type Point struct {
	Workers int
	Mpps    float64
	MAC     bool // the MAC binds; such plateaus wander between MACLow and MACHigh
}

// MACLow and MACHigh enclose the measured plateaus where the MAC binds, in Mpps.
const MACLow, MACHigh = 51.5, 55.0

// Sweeps returns the measured micro-benchmarks: two programs without memory accesses, n
// blocking reads of one location of external memory, k posted adds.
func Sweeps() []Sweep {
	five := func(mac int, mpps ...float64) []Point {
		var out []Point
		for i, v := range mpps {
			out = append(out, Point{5 * (i + 1), v, 5*(i+1) >= mac})
		}
		return out
	}
	const never = 1000
	return []Sweep{
		{"drop", "corenic", "5.0.0.1:end0",
			five(30, 9.508, 19.415, 28.873, 38.499, 47.775, 53.196, 52.116, 52.191, 52.891, 53.191)},
		{"slow", "corenic", "20.0.0.0:cr4 800.8.0.1:end0",
			five(never, 3.166, 6.305, 9.457, 12.620, 15.789, 18.951, 22.109, 25.282, 28.438, 31.614)},
		{"read4", "corenic-direct", "23.0.0.0:er1 3x(7.0.0.0:er1) 7.1.0.1:end0",
			five(never, 11.840, 23.526, 34.900, 46.423, 49.568, 49.493, 49.364, 49.425, 49.451, 49.422)},
		{"read8", "corenic-direct", "23.0.0.0:er1 7x(7.0.0.0:er1) 7.1.0.1:end0",
			five(never, 9.147, 17.958, 24.813, 24.739, 24.846, 24.807, 24.734, 24.726, 24.897, 24.905)},
		{"read12", "corenic-direct", "23.0.0.0:er1 11x(7.0.0.0:er1) 7.1.0.1:end0",
			five(never, 7.450, 14.318, 16.633, 16.616, 16.624, 16.602, 16.597, 16.618, 16.631, 16.632)},
		{"add1", "corenic-direct", "25.0.0.0:add1 3.0.0.1:end0", []Point{{50, 54.26, true}}},
		{"add10", "corenic-direct", "25.0.0.0:add1 9x(23.0.0.0:add1) 3.0.0.1:end0", []Point{{50, 24.94, false}}},
		{"add20", "corenic-direct", "25.0.0.0:add1 19x(23.0.0.0:add1) 3.0.0.1:end0", []Point{{50, 12.48, false}}},
	}
}
