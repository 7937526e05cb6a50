import gradio as gr


def greet(name):
    return "Hello " + name + "!"


demo = gr.Interface(fn=greet, inputs="text", outputs="text", api_name="predict")

if __name__ == "__main__":
    demo.launch(share=True, server_port=7861)
