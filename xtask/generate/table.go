package main

import (
	"encoding/json"
	"fmt"
	"go/constant"
	"go/types"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// table is the facts to print: lines of fields by package and type.
type table struct {
	world *world
	lines map[string]map[string]*definition
}

type definition struct {
	atomic bool
	fields []string
	// text and fieldTexts are what the type and its fields are for; name, then text.
	text       string
	fieldTexts [][2]string
}

func newTable(w *world) *table { return &table{w, map[string]map[string]*definition{}} }

// Types with a JSON form of their own, by their Go name.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/api/resource.Quantity":                                         "quantity",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":                                         "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":                                         "fields",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":                                        "micro-time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":                                             "time",
	"k8s.io/apimachinery/pkg/runtime.Object":                                                "raw",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":                                          "raw",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":                                       "int-or-string",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON":                         "json",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrArray":       "schema-or-array",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrBool":        "schema-or-bool",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSONSchemaPropsOrStringArray": "schema-or-strings",
}

// modelPackage is the package part of a type's OpenAPI name: k8s.io/api/core/v1 is io.k8s.api.core.v1.
func modelPackage(path string) string {
	host, rest, _ := strings.Cut(path, "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(rest, "/", ".")
}

func (t *table) add(object *types.TypeName) error {
	path := object.Pkg().Path()
	if t.lines[path] == nil {
		t.lines[path] = map[string]*definition{}
	}
	if t.lines[path][object.Name()] != nil {
		return nil
	}
	docs := t.world.typeDocs[fullName(object)]
	def := &definition{atomic: docs.first("structType") == "atomic" || docs.first("mapType") == "atomic"}
	def.text = t.world.typeTexts[fullName(object)]
	t.lines[path][object.Name()] = def
	structure, ok := object.Type().Underlying().(*types.Struct)
	if !ok {
		return fmt.Errorf("%s is no struct", fullName(object))
	}
	if err := t.addFields(def, structure, path, place{}); err != nil {
		return fmt.Errorf("%s.%w", fullName(object), err)
	}
	return nil
}

// place is where an inlined struct's fields sit: protobuf numbers ("2/") and Go names ("VolumeSource.").
type place struct{ numbers, names string }

func (t *table) addFields(def *definition, structure *types.Struct, path string, in place) error {
	for i := 0; i < structure.NumFields(); i++ {
		field := structure.Field(i)
		tags := reflect.StructTag(structure.Tag(i))
		name, options, _ := strings.Cut(tags.Get("json"), ",")
		if name == "-" || !field.Exported() {
			continue
		}
		number, err := protobufTag(tags.Get("protobuf"))
		if err != nil {
			return fmt.Errorf("%s: %w", field.Name(), err)
		}
		inlined, isStruct := field.Type().Underlying().(*types.Struct)
		if name == "" && isStruct && (field.Embedded() || strings.Contains(options, "inline")) {
			// TypeMeta has no number: protobuf carries it in the envelope round the object.
			nested := place{in.numbers + strconv.Itoa(number) + "/", in.names + field.Name() + "."}
			if err := t.addFields(def, inlined, path, nested); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			return fmt.Errorf("%s: no JSON name", field.Name())
		}
		line, err := t.field(field, name, options, tags, path, in, number)
		if err != nil {
			return fmt.Errorf("%s: %w", field.Name(), err)
		}
		def.fields = append(def.fields, line)
		def.fieldTexts = append(def.fieldTexts, [2]string{name, t.world.fieldTexts[field] + t.enumText(field.Type())})
	}
	return nil
}

// protobufTag reads the number of `bytes,2,opt,name=x`, 0 where there is none.
func protobufTag(tag string) (int, error) {
	if tag == "" || tag == "-" {
		return 0, nil
	}
	parts := strings.Split(tag, ",")
	if len(parts) < 2 {
		return 0, fmt.Errorf("protobuf tag %q", tag)
	}
	return strconv.Atoi(parts[1])
}

// isMessageList: a named list type that protobuf makes a message of (metav1.Verbs).
func (t *table) isMessageList(kind types.Type) bool {
	named, ok := types.Unalias(kind).(*types.Named)
	return ok && t.world.typeDocs[fullName(named.Obj())].has("protobuf.nullable")
}

func (t *table) field(field *types.Var, name, options string, tags reflect.StructTag, path string, in place, number int) (string, error) {
	docs := t.world.fieldDocs[field]
	kind, err := t.typeName(field.Type(), path)
	if err != nil {
		return "", err
	}
	tag := in.numbers + strconv.Itoa(number)
	if strings.HasPrefix(in.numbers, "0/") || number == 0 {
		tag = "0"
	}
	words := []string{name, tag, kind}
	omitempty := strings.Contains(options, "omitempty")
	// As upstream's OpenAPI generator decides it: a marker wins, else the JSON tag.
	if docs.has("required") || (!docs.has("optional") && !omitempty) {
		words = append(words, "r")
	}
	if omitempty {
		words = append(words, "o")
	}
	if strings.Contains(options, "omitzero") {
		words = append(words, "z")
	}
	if _, ok := types.Unalias(field.Type()).(*types.Pointer); ok {
		words = append(words, "p")
	}
	if t.isMessageList(field.Type()) {
		words = append(words, "w")
	}
	if docs.first("structType") == "atomic" || docs.first("mapType") == "atomic" {
		words = append(words, "atomic")
	}
	if docs.first("structType") == "granular" || docs.first("mapType") == "granular" {
		words = append(words, "granular")
	}
	if list := docs.first("listType"); list != "" {
		if keys := docs["listMapKey"]; list == "map" {
			list += ":" + strings.Join(keys, ",")
		}
		words = append(words, "list="+list)
	}
	if strategy := tags.Get("patchStrategy"); strategy != "" {
		words = append(words, "patch="+strategy)
	}
	if key := tags.Get("patchMergeKey"); key != "" {
		words = append(words, "key="+key)
	}
	if values := t.enum(field.Type()); len(values) > 0 {
		words = append(words, "enum="+strings.ReplaceAll(strings.Join(values, ","), " ", `\u0020`))
	}
	if docs.has("default") {
		value, err := t.defaultValue(docs.first("default"), path)
		if err != nil {
			return "", err
		}
		words = append(words, "default="+value)
	}
	if name := goName(field.Type()); name != "" {
		words = append(words, "as="+name)
	}
	if names := strings.TrimSuffix(in.names, "."); names != "" && tag != "0" {
		words = append(words, "in="+names)
	}
	return strings.Join(words, " "), nil
}

// goName: what Go calls a field's scalar type where it has a name of its own, for Go's error messages.
func goName(kind types.Type) string {
	switch kind := types.Unalias(kind).(type) {
	case *types.Pointer:
		return goName(kind.Elem())
	case *types.Slice:
		return goName(kind.Elem())
	case *types.Map:
		return goName(kind.Elem())
	case *types.Named:
		switch kind.Underlying().(type) {
		case *types.Basic:
			return kind.Obj().Pkg().Name() + "." + kind.Obj().Name()
		case *types.Slice, *types.Map:
			if special[fullName(kind.Obj())] == "" {
				return goName(kind.Underlying())
			}
		}
	}
	return ""
}

// enum: the sorted values of a field of an enumerated type, or of a list or map of such.
func (t *table) enum(kind types.Type) []string {
	switch kind := types.Unalias(kind).(type) {
	case *types.Pointer:
		return t.enum(kind.Elem())
	case *types.Slice:
		return t.enum(kind.Elem())
	case *types.Map:
		return t.enum(kind.Elem())
	case *types.Named:
		var values []string
		seen := map[string]bool{}
		for _, value := range t.world.enumValues[fullName(kind.Obj())] {
			if value == "" {
				value = "''"
			}
			if !seen[value] {
				values = append(values, value)
			}
			seen[value] = true
		}
		sort.Strings(values)
		return values
	}
	return nil
}

// defaultValue: JSON as it stands, or `ref(Constant)` resolved.
func (t *table) defaultValue(text, path string) (string, error) {
	if name, ok := strings.CutPrefix(text, "ref("); ok {
		name = strings.TrimSuffix(name, ")")
		if dot := strings.LastIndex(name, "."); dot >= 0 {
			path, name = name[:dot], name[dot+1:]
		}
		object, ok := t.world.scope[path].Scope().Lookup(name).(*types.Const)
		if !ok {
			return "", fmt.Errorf("default %s: no such constant", text)
		}
		text = object.Val().ExactString()
		if object.Val().Kind() == constant.String {
			encoded, err := json.Marshal(constant.StringVal(object.Val()))
			if err != nil {
				return "", err
			}
			text = string(encoded)
		}
	}
	if !json.Valid([]byte(text)) {
		return "", fmt.Errorf("default %s is no JSON", text)
	}
	return strings.ReplaceAll(text, " ", `\u0020`), nil
}

func (t *table) typeName(kind types.Type, path string) (string, error) {
	kind = types.Unalias(kind)
	if named, ok := kind.(*types.Named); ok {
		if word := special[fullName(named.Obj())]; word != "" {
			return word, nil
		}
	}
	switch kind := kind.(type) {
	case *types.Pointer:
		return t.typeName(kind.Elem(), path)
	case *types.Named:
		if _, ok := kind.Underlying().(*types.Struct); ok {
			if err := t.add(kind.Obj()); err != nil {
				return "", err
			}
			if kind.Obj().Pkg().Path() == path {
				return kind.Obj().Name(), nil
			}
			return modelPackage(kind.Obj().Pkg().Path()) + "." + kind.Obj().Name(), nil
		}
		return t.typeName(kind.Underlying(), path)
	case *types.Slice:
		if basic, ok := kind.Elem().Underlying().(*types.Basic); ok && basic.Kind() == types.Uint8 {
			return "bytes", nil
		}
		item, err := t.typeName(kind.Elem(), path)
		return "[]" + item, err
	case *types.Map:
		if basic, ok := kind.Key().Underlying().(*types.Basic); !ok || basic.Kind() != types.String {
			return "", fmt.Errorf("a map with keys of type %s", kind.Key())
		}
		item, err := t.typeName(kind.Elem(), path)
		return "{}" + item, err
	case *types.Interface:
		return "json", nil
	case *types.Basic:
		switch kind.Kind() {
		case types.Bool:
			return "bool", nil
		case types.Int32:
			return "int32", nil
		case types.Int64, types.Int:
			return "int64", nil
		case types.Float64:
			return "float", nil
		case types.String:
			return "string", nil
		}
	}
	return "", fmt.Errorf("no table type for %s", kind)
}

func (t *table) print(out io.Writer) {
	fmt.Fprintln(out, "# Written by `cargo xtask generate`; never edit. The form: schema/parse.rs.")
	fmt.Fprintln(out, "version", kubernetesVersion)
	for _, path := range sortedKeys(t.lines) {
		fmt.Fprintln(out, "package", modelPackage(path))
		for _, name := range sortedKeys(t.lines[path]) {
			def := t.lines[path][name]
			line := "type " + name
			if def.atomic {
				line += " atomic"
			}
			fmt.Fprintln(out, line)
			for _, field := range def.fields {
				fmt.Fprintln(out, " "+field)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
