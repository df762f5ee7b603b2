"""Exported classifiers in the runtimes that serve them, compared with Keras.

```python
requests = requests.build_requests(classifier, images)
check = runtimes.check_runtime("openvino", "serving/classifier/1", requests)
print(check.state, check.max_difference)
exports.convert("serving/classifier/1", "onnx", "model.onnx")
```
"""
