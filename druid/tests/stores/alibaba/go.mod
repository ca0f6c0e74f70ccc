module druid-test-stores-alibaba

go 1.26

require (
	github.com/aliyun/alibabacloud-oss-go-sdk-v2 v1.6.1
	github.com/aws/aws-sdk-go-v2 v1.45.1
)

require (
	github.com/aws/smithy-go v1.28.9 // indirect
	golang.org/x/time v0.4.0 // indirect
)
