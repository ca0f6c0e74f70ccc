// What stands in for Alibaba's OSS, of which there is no server to run: it lets pass what the vendor's
// own code would have signed just so, and an S3 server behind it keeps the objects.
//
//	oss serve ADDRESS S3-ADDRESS    serve it
//	oss copy ENDPOINT FROM TO       with the vendor's client, copy objects below a prefix, in parts
package main

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/signer"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	bucket = "backups"
	key    = "tester"
	secret = "tester-secret"
	// A bucket's name stands before it in the name of a host.
	service = "oss.test"
	part    = 5 << 20
)

func main() {
	switch arguments := os.Args[1:]; {
	case len(arguments) == 3 && arguments[0] == "serve":
		log.Fatal(http.ListenAndServe(arguments[1], &gateway{arguments[2]}))
	case len(arguments) == 4 && arguments[0] == "copy":
		if err := copyAll(context.Background(), arguments[1], arguments[2], arguments[3]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("oss serve ADDRESS S3-ADDRESS | oss copy ENDPOINT FROM TO")
	}
}

type gateway struct{ behind string }

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	within, object, ok := names(r)
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchBucket", r.Host+r.URL.Path)
		return
	}
	if code := wrong(r, within, object); code != "" {
		refuse(w, http.StatusForbidden, code, r.Method+" "+r.URL.String())
		return
	}
	answer, err := g.pass(r, within, object)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		if its, amazon := strings.CutPrefix(name, "X-Amz-"); amazon {
			name = "X-Oss-" + its
		}
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

// The bucket stands in the name of the host, or, where that is an IP address, in the path.
func names(r *http.Request) (within, object string, ok bool) {
	if within, virtual := strings.CutSuffix(r.Host, "."+service); virtual {
		return within, strings.TrimPrefix(r.URL.Path, "/"), true
	}
	within, object, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return within, object, within != "" && r.Host != service
}

// The code of an error, if the vendor's code would have signed this in another way.
func wrong(r *http.Request, within, object string) string {
	signed, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return "AccessDenied"
	}
	if time.Since(signed).Abs() > 15*time.Minute {
		return "RequestTimeTooSkewed"
	}
	ours := r.Clone(r.Context())
	ours.Header.Del("Authorization")
	err = (&signer.SignerV1{}).Sign(r.Context(), &signer.SigningContext{
		Bucket:      &within,
		Key:         &object,
		Request:     ours,
		Credentials: &credentials.Credentials{AccessKeyID: key, AccessKeySecret: secret},
		Time:        signed,
	})
	if err != nil {
		return "AccessDenied"
	}
	given, right := r.Header.Get("Authorization"), ours.Header.Get("Authorization")
	if subtle.ConstantTimeCompare([]byte(given), []byte(right)) != 1 {
		return "SignatureDoesNotMatch"
	}
	return ""
}

// The same request in the words of S3.
func (g *gateway) pass(r *http.Request, within, object string) (*http.Response, error) {
	path := "/" + within
	if object != "" {
		path += "/" + object
	}
	to := &url.URL{Scheme: "http", Host: g.behind, Path: path, RawPath: quoted(path), RawQuery: r.URL.RawQuery}
	s3, err := http.NewRequestWithContext(r.Context(), r.Method, to.String(), r.Body)
	if err != nil {
		return nil, err
	}
	s3.ContentLength = r.ContentLength
	if r.ContentLength == 0 {
		s3.Body = http.NoBody
	}
	for name, values := range r.Header {
		switch its, alibaba := strings.CutPrefix(name, "X-Oss-"); {
		case name == "X-Oss-Forbid-Overwrite":
			if values[0] == "true" {
				s3.Header.Set("If-None-Match", "*")
			}
		case name == "X-Oss-Range-Behavior":
		case alibaba:
			s3.Header["X-Amz-"+its] = values
		case name == "Content-Type", name == "Content-Md5", name == "Range", strings.HasPrefix(name, "If-"):
			s3.Header[name] = values
		}
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	s3.Header.Set("X-Amz-Content-Sha256", unsigned)
	login := aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}
	sign := v4.NewSigner(func(it *v4.SignerOptions) { it.DisableURIPathEscaping = true })
	if err := sign.SignHTTP(r.Context(), login, s3, unsigned, "s3", "us-east-1", time.Now()); err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(s3)
}

// A path as S3 signs it.
func quoted(path string) string {
	var out strings.Builder
	for _, it := range []byte(path) {
		plain := it >= 'a' && it <= 'z' || it >= 'A' && it <= 'Z' || it >= '0' && it <= '9'
		if plain || strings.IndexByte("-._~/", it) >= 0 {
			out.WriteByte(it)
		} else {
			fmt.Fprintf(&out, "%%%02X", it)
		}
	}
	return out.String()
}

func refuse(w http.ResponseWriter, status int, code, why string) {
	log.Print(code, ": ", why)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

func copyAll(ctx context.Context, endpoint, from, to string) error {
	client := oss.NewClient(oss.LoadDefaultConfig().
		WithRegion("test").
		WithEndpoint(endpoint).
		WithSignatureVersion(oss.SignatureVersionV1).
		WithCredentialsProvider(credentials.NewStaticCredentialsProvider(key, secret)))
	pages := client.NewListObjectsV2Paginator(&oss.ListObjectsV2Request{
		Bucket: oss.Ptr(bucket), Prefix: oss.Ptr(from), MaxKeys: 2})
	for pages.HasNext() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, it := range page.Contents {
			if err := copyOne(ctx, client, *it.Key, to+strings.TrimPrefix(*it.Key, from)); err != nil {
				return err
			}
			fmt.Println(*it.Key)
		}
	}
	return nil
}

func copyOne(ctx context.Context, client *oss.Client, from, to string) error {
	got, err := client.GetObject(ctx, &oss.GetObjectRequest{Bucket: oss.Ptr(bucket), Key: oss.Ptr(from)})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	_, err = client.NewUploader(func(it *oss.UploaderOptions) { it.PartSize = part }).
		UploadFrom(ctx, &oss.PutObjectRequest{Bucket: oss.Ptr(bucket), Key: oss.Ptr(to)}, got.Body)
	return err
}
