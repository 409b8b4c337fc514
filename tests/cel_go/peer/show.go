package main

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// show writes a value as ../show.c does: the same text, the same value.
func show(value ref.Val) string {
	switch v := value.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return fmt.Sprintf("%v", bool(v))
	case types.Int:
		return fmt.Sprintf("i%d", int64(v))
	case types.Uint:
		return fmt.Sprintf("u%d", uint64(v))
	case types.Double:
		if math.IsNaN(float64(v)) {
			return "dnan"
		}
		return fmt.Sprintf("d%016x", math.Float64bits(float64(v)))
	case types.String:
		return fmt.Sprintf("s%x", string(v))
	case types.Bytes:
		return fmt.Sprintf("y%x", []byte(v))
	case types.Timestamp:
		return fmt.Sprintf("t%d.%d", v.Unix(), v.Nanosecond())
	case types.Duration:
		return fmt.Sprintf("D%d", int64(v.Duration/time.Nanosecond))
	case *types.Optional:
		if v.HasValue() {
			return "O(" + show(v.GetValue()) + ")"
		}
		return "O()"
	case *types.Type:
		return "T" + v.TypeName()
	case ext.IP:
		return fmt.Sprintf("Iip(%q)", v.Addr.String())
	case ext.CIDR:
		return fmt.Sprintf("Ccidr(%q)", v.Prefix.String())
	case *types.Err, *types.Unknown:
		return "E"
	case traits.Mapper:
		return showMap(v)
	case traits.Lister:
		return showList(v)
	}
	return "?" + value.Type().TypeName()
}

func showMap(value traits.Mapper) string {
	var parts []string
	for it := value.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		parts = append(parts, show(key)+":"+show(value.Get(key)))
	}
	sort.Strings(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

func showList(value traits.Lister) string {
	var parts []string
	for it := value.Iterator(); it.HasNext() == types.True; {
		parts = append(parts, show(it.Next()))
	}
	return "[" + strings.Join(parts, ",") + "]"
}
