import pandas as pd
import streamlit as st


@st.cache_data
def numbers() -> pd.DataFrame:
    return pd.DataFrame({"n": range(10)})
