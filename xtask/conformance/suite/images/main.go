// Command images prints what the suite calls its images: a JSON object from an
// image's name in upstream's manifest to its reference.
package main

import (
	"encoding/json"
	"log"
	"os"

	"k8s.io/kubernetes/test/utils/image"
)

func main() {
	references := map[string]string{
		"agnhost":          image.GetE2EImage(image.Agnhost),
		"agnhost-prev":     image.GetE2EImage(image.AgnhostPrev),
		"busybox":          image.GetE2EImage(image.BusyBox),
		"etcd":             image.GetE2EImage(image.Etcd),
		"jessie-dnsutils":  image.GetE2EImage(image.JessieDnsutils),
		"nautilus":         image.GetE2EImage(image.Nautilus),
		"nginx":            image.GetE2EImage(image.Nginx),
		"nginx-new":        image.GetE2EImage(image.NginxNew),
		"nonewprivs":       image.GetE2EImage(image.Nonewprivs),
		"nonroot":          image.GetE2EImage(image.NonRoot),
		"pause":            image.GetE2EImage(image.Pause),
		"sample-apiserver": image.GetE2EImage(image.APIServer),
	}
	if err := json.NewEncoder(os.Stdout).Encode(references); err != nil {
		log.Fatal(err)
	}
}
